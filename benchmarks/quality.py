"""Test scores that seedbed and its peers reach in the same time, on the same files and cores; and
those that seedbed reaches in a third of a peer's time.

A run takes as long as its budget, so that all of them take hours: what was run is kept in the
user's cache and not run again with the same versions. `QUALITY_DATA` names the data sets to run,
`QUALITY_SECONDS` the budgets and `QUALITY_PEERS` the scripts of peers, with commas between them;
the default is all.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from benchmarks.measure import Case, compare
from benchmarks.quality_data import DATA, DataSet, Files
from benchmarks.quality_runs import OURS, Result, RunFailed, result_of

NAME = "quality"
BUDGETS = (60, 180)
TIME_SHARE = 3
# Means of equal scores may differ in their last bit.
EQUAL = 1e-9


@dataclass
class _Tally:
    """Of each data set and budget how ours compares with its best peer: 1 better, 0 equal, -1
    worse; and what failed."""

    same_time: list[int] = field(default_factory=list)
    third: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run(rounds: int) -> Iterator[Case]:
    """A case for each data set, budget and peer, over as many seeds as rounds; then how often ours
    is as good as the best peer. Raises RuntimeError at the end where runs failed."""
    names = _listed("QUALITY_DATA") or [data.name for data in DATA]
    budgets = [int(seconds) for seconds in _listed("QUALITY_SECONDS")] or BUDGETS
    tally = _Tally()
    for data in DATA:
        if data.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            files = data.write(Path(folder))
            for budget in budgets:
                yield from _cases(data, files, budget, rounds, tally)
    yield from _totals(tally)
    if tally.failed:
        raise RuntimeError(f"{len(tally.failed)} runs failed:\n" + "\n".join(tally.failed))


def _listed(variable: str) -> list[str]:
    return [part for part in os.environ.get(variable, "").split(",") if part]


def _cases(data: DataSet, files: Files, budget: int, rounds: int, tally: _Tally) -> Iterator[Case]:
    peers = [peer for peer in data.peers if peer in (_listed("QUALITY_PEERS") or data.peers)]
    sides = [(OURS, budget), (OURS, budget // TIME_SHARE), *((peer, budget) for peer in peers)]
    found: dict[tuple[str, int], list[Result]] = {}
    for seed in range(rounds):
        for side, seconds in sides:
            try:
                result = result_of(data, files, side, seconds, seed)
            except RunFailed as error:
                tally.failed.append(f"{data.name}, {side}, {seconds} s, seed {seed}: {error}")
                print(tally.failed[-1], file=sys.stderr, flush=True)
            else:
                found.setdefault((side, seconds), []).append(result)
    whole = {side: results for side, results in found.items() if len(results) == rounds}
    for kind, seconds, signs in (
        ("", budget, tally.same_time),
        ("at a third of the time: ", budget // TIME_SHARE, tally.third),
    ):
        ours = whole.get((OURS, seconds))
        theirs = [(peer, whole[peer, budget]) for peer in peers if (peer, budget) in whole]
        if ours is None or not theirs:
            continue
        for peer, results in theirs:
            yield _case(data, kind, (seconds, ours), (peer, budget, results))
        signs.append(min(_sign(data, ours, results) for _, results in theirs))


def _case(
    data: DataSet,
    kind: str,
    ours: tuple[int, Sequence[Result]],
    theirs: tuple[str, int, Sequence[Result]],
) -> Case:
    """Ours is (budget, results) and theirs (peer, budget, results), in the order of the seeds."""
    (our_budget, our_results), (peer, budget, results) = ours, theirs
    verdict = ("theirs is better", "both are equal", "ours is better")
    return compare(
        NAME,
        f"{data.name}, {kind}test {data.metric} of {our_budget} s against {peer} of {budget} s; "
        f"mean {_score(our_results):.4f} and {_score(results):.4f}, so that "
        f"{verdict[_sign(data, our_results, results) + 1]}; seconds really used "
        f"{mean(r.seconds for r in our_results):.1f} and {mean(r.seconds for r in results):.1f}",
        [(a.score, b.score) for a, b in zip(our_results, results, strict=True)],
        unit=data.metric,
        limit="required: at least equal to the best peer everywhere, better on most"
        if our_budget == budget
        else "required: the best peer's score",
        higher_is_better=data.higher_is_better,
    )


def _score(results: Sequence[Result]) -> float:
    return mean(result.score for result in results)


def _sign(data: DataSet, ours: Sequence[Result], theirs: Sequence[Result]) -> int:
    """1 where ours has the better mean, 0 where they are equal, -1 where theirs has."""
    lead = _score(ours) - _score(theirs)
    if not data.higher_is_better:
        lead = -lead
    return (lead > EQUAL) - (lead < -EQUAL)


def _totals(tally: _Tally) -> Iterator[Case]:
    for what, signs, least, limit in (
        ("at least equal to the best peer's", tally.same_time, 0, "required: all"),
        ("better than the best peer's", tally.same_time, 1, "required: most"),
        ("at least the best peer's in a third of its time", tally.third, 0, "required: all"),
    ):
        if signs:
            count = sum(sign >= least for sign in signs)
            yield Case(
                NAME,
                f"data sets and budgets in which our mean score is {what}; theirs: all of them",
                float(count),
                float(len(signs)),
                "data sets and budgets",
                round(count / len(signs), 4),
                None,
                limit,
            )
