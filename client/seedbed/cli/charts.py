"""Curves and bars made of characters."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int) -> str:
    """A bar of at most `width` characters for a share of 0 to 1, to an eighth of a character; a
    share above 0 is never invisible."""
    eighths = round(8 * width * min(1.0, max(0.0, share)))
    if share > 0:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def steps(points: Sequence[tuple[float, float]], end: float, width: int, height: int) -> list[str]:
    """A step function over the time from 0 to `end`, in `height` lines of `width` characters, the
    greatest value in the first. `points` are times and the values that hold from then on, in order
    and at least one."""
    values = [value for _, value in points]
    low, high = min(values), max(values)

    def row_of(value: float) -> int:
        return round((height - 1) * (high - value) / (high - low)) if high > low else 0

    rows = [[" "] * width for _ in range(height)]
    before = row_of(values[0])
    for column in range(width):
        # At the column's right edge, so that the last change is seen, whenever it was.
        until = end * (column + 1) / width
        held = [value for time, value in points if time <= until or column == width - 1]
        if not held:
            continue
        row = row_of(held[-1])
        if row == before:
            rows[row][column] = "─"
            continue
        top, bottom = min(row, before), max(row, before)
        for between in range(top + 1, bottom):
            rows[between][column] = "│"
        rows[top][column], rows[bottom][column] = ("╭", "╯") if row == top else ("╮", "╰")
        before = row
    return ["".join(row) for row in rows]
