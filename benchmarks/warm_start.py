"""How many trials and seconds a job needs that tries what an earlier job on similar data found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import seedbed
from benchmarks.measure import Case, compare
from benchmarks.processes import server

NAME = "warm_start"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ROWS = 2_000
TRIALS = 20
METRIC = "log_loss"
SPACE: Mapping[str, object] = {"architecture": ["linear", "lightgbm"]}


@dataclass(frozen=True, slots=True)
class _Way:
    """A search: the best score so far after each trial, and the seconds from the first trial's
    start to each one's end."""

    best: tuple[float, ...]
    seconds: tuple[float, ...]

    def reached(self, score: float) -> tuple[int, float]:
        """After how many trials, and seconds, the score was reached; lower is better."""
        place = next(place for place, best in enumerate(self.best) if best <= score)
        return place + 1, self.seconds[place]


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    ways = [_round(seed) for seed in range(rounds)]
    reached = [_both_reached(ours, theirs) for ours, theirs in ways]
    about = (
        f"second job of {TRIALS} trials of linear and lightgbm, on {ROWS:,} rows of adult, after "
        f"one on {ROWS:,} others"
    )
    scores = ", ".join(f"{ours.best[-1]:.4f} and {theirs.best[-1]:.4f}" for ours, theirs in ways)
    without = "theirs: with earlier jobs ignored"
    yield compare(
        NAME,
        f"{about}: trials until the validation log loss is there that both reach; {without}; "
        f"log loss at the end by seed, ours and theirs: {scores}",
        [(float(ours[0]), float(theirs[0])) for ours, theirs in reached],
        unit="trials",
        limit="none: what it brings",
    )
    yield compare(
        NAME,
        f"{about}: from the first trial's start until then; {without}",
        [(ours[1], theirs[1]) for ours, theirs in reached],
        unit="s",
        limit="none: what it brings",
    )
    for count in (3, 6, 12):
        yield compare(
            NAME,
            f"{about}: validation log loss after {count} trials; {without}",
            [(ours.best[count - 1], theirs.best[count - 1]) for ours, theirs in ways],
            unit="log loss",
            limit="none: what it brings",
        )


def _both_reached(ours: _Way, theirs: _Way) -> tuple[tuple[int, float], tuple[int, float]]:
    score = max(ours.best[-1], theirs.best[-1])
    return ours.reached(score), theirs.reached(score)


def _round(seed: int) -> tuple[_Way, _Way]:
    """With the earlier job and without."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder), "--allow-root", folder) as running,
        seedbed.connect(running.address) as client,
    ):
        rows = pd.read_csv(SHARED / "adult-train.csv").sample(2 * ROWS, random_state=seed)
        paths = [Path(folder) / f"{name}.csv" for name in ("one", "two")]
        for path, part in zip(paths, (rows[:ROWS], rows[ROWS:]), strict=True):
            part.to_csv(path, index=False)
        one, two = (client.create_dataset(str(path)) for path in paths)
        _search(client, one, seed)
        # The one without goes first, so that the other learns from the first job alone.
        theirs = _search(client, two, seed, ignore_earlier_jobs=True)
        client.jobs()[0].delete()
        return _search(client, two, seed), theirs


def _search(
    client: seedbed.Client,
    dataset: seedbed.Dataset,
    seed: int,
    *,
    ignore_earlier_jobs: bool = False,
) -> _Way:
    started: list[float] = []
    ended: list[tuple[float, float | None]] = []

    def follow(event: seedbed.Event) -> None:
        if isinstance(event.body, seedbed.TrialStarted):
            started.append(event.time.timestamp())
        elif isinstance(event.body, seedbed.TrialFinished):
            ended.append((event.time.timestamp(), event.body.validation_score))

    client.train(
        "tabular",
        dataset,
        target="income",
        budget=f"{TRIALS}trials",
        metric=METRIC,
        search_space=SPACE,
        seed=seed,
        ignore_earlier_jobs=ignore_earlier_jobs,
        progress=follow,
    )
    scores = [float("inf") if score is None else score for _, score in ended]
    best = tuple(min(scores[: place + 1]) for place in range(len(scores)))
    return _Way(best, tuple(time - started[0] for time, _ in ended))
