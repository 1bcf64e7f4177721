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
    rows = [[" "] * width for _ in range(height)]
    before: int | None = None
    for column in range(width):
        # At the column's right edge, so that the last change is seen, whenever it was.
        until = end * (column + 1) / width
        held = [value for time, value in points if time <= until or column == width - 1]
        if not held:
            continue
        share = (held[-1] - low) / (high - low) if high > low else 0.0
        row = round((height - 1) * (1 - share))
        if before is None or row == before:
            rows[row][column] = "─"
        else:
            top, bottom = min(row, before), max(row, before)
            for between in range(top + 1, bottom):
                rows[between][column] = "│"
            rises = row < before
            rows[top][column] = "╭" if rises else "╮"
            rows[bottom][column] = "╯" if rises else "╰"
        before = row
    return ["".join(row) for row in rows]
