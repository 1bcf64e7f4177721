"""What a benchmark says: a case with both sides, their ratio and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a benchmark's result.

    `ours` and `theirs` are medians over the rounds, in `unit`. `ratio` is the median of the rounds'
    ratios, above 1 where ours is better, and `spread` the lowest and the highest of them; both are
    None where one side is zero. `limit` says what is required.
    """

    benchmark: str
    case: str
    ours: float
    theirs: float
    unit: str
    ratio: float | None
    spread: tuple[float, float] | None
    limit: str


def compare(
    benchmark: str,
    case: str,
    rounds: Sequence[tuple[float, float]],
    *,
    unit: str,
    limit: str,
    higher_is_better: bool = False,
) -> Case:
    """A case out of (ours, theirs) of each round."""
    ours, theirs = (median(side) for side in zip(*rounds, strict=True))
    ratios: list[float] = []
    if all(a > 0 and b > 0 for a, b in rounds):
        ratios = [a / b if higher_is_better else b / a for a, b in rounds]
    return Case(
        benchmark=benchmark,
        case=case,
        ours=_rounded(ours),
        theirs=_rounded(theirs),
        unit=unit,
        ratio=_rounded(median(ratios)) if ratios else None,
        spread=(_rounded(min(ratios)), _rounded(max(ratios))) if ratios else None,
        limit=limit,
    )


def _rounded(value: float) -> float:
    """Four digits: there are no more that mean anything."""
    return float(f"{value:.4g}")
