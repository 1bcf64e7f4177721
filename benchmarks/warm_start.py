"""How many trials and seconds a job needs that tries what an earlier job on similar data found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import seedbed
from benchmarks.measure import Case, compare
from benchmarks.processes import server

NAME = "warm_start"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TRIALS = 12
METRIC = "log_loss"
LIMIT = "none: what it brings"


@dataclass(frozen=True, slots=True)
class _Data:
    """A file, two samples of which, of so many rows each, are the similar data; and what is
    searched on them."""

    file: str
    rows: int
    task: str
    target: str
    architectures: tuple[str, ...]


DATA = (
    # On this file the portfolios were chosen, so that there is little to learn from elsewhere.
    _Data("adult-train.csv", 4_000, "tabular", "income", ("linear", "lightgbm")),
    _Data(
        "sms-train.csv",
        1_000,
        "text_classification",
        "label",
        ("tfidf_linear", "bag_of_embeddings"),
    ),
)


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
    for data in DATA:
        yield from _cases(data, [_round(data, seed) for seed in range(rounds)])


def _cases(data: _Data, ways: Sequence[tuple[_Way, _Way]]) -> Iterator[Case]:
    reached = [_both_reached(ours, theirs) for ours, theirs in ways]
    about = (
        f"{TRIALS} trials of {' and '.join(data.architectures)} on {data.rows:,} rows of "
        f"{data.file}, after a job on {data.rows:,} others"
    )
    scores = ", ".join(f"{ours.best[-1]:.4f} and {theirs.best[-1]:.4f}" for ours, theirs in ways)
    without = "theirs: with earlier jobs ignored"
    yield compare(
        NAME,
        f"{about}: trials until the validation log loss is there that both reach; {without}; "
        f"log loss at the end by seed, ours and theirs: {scores}",
        [(float(ours[0]), float(theirs[0])) for ours, theirs in reached],
        unit="trials",
        limit=LIMIT,
    )
    yield compare(
        NAME,
        f"{about}: from the first trial's start until then; {without}",
        [(ours[1], theirs[1]) for ours, theirs in reached],
        unit="s",
        limit=LIMIT,
    )
    for count in (4, 8):
        yield compare(
            NAME,
            f"{about}: validation log loss after {count} trials; {without}",
            [(ours.best[count - 1], theirs.best[count - 1]) for ours, theirs in ways],
            unit="log loss",
            limit=LIMIT,
        )


def _both_reached(ours: _Way, theirs: _Way) -> tuple[tuple[int, float], tuple[int, float]]:
    score = max(ours.best[-1], theirs.best[-1])
    return ours.reached(score), theirs.reached(score)


def _round(data: _Data, seed: int) -> tuple[_Way, _Way]:
    """With the earlier job and without."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder), "--allow-root", folder) as running,
        seedbed.connect(running.address) as client,
    ):
        rows = pd.read_csv(SHARED / data.file).sample(2 * data.rows, random_state=seed)
        paths = [Path(folder) / f"{name}.csv" for name in ("one", "two")]
        for path, part in zip(paths, (rows[: data.rows], rows[data.rows :]), strict=True):
            part.to_csv(path, index=False)
        one, two = (client.create_dataset(str(path)) for path in paths)
        _search(client, data, one, seed)
        # The one without goes first, so that the other learns from the first job alone.
        theirs = _search(client, data, two, seed, ignore_earlier_jobs=True)
        client.jobs()[0].delete()
        return _search(client, data, two, seed), theirs


def _search(
    client: seedbed.Client,
    data: _Data,
    dataset: seedbed.Dataset,
    seed: int,
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
        data.task,
        dataset,
        target=data.target,
        budget=f"{TRIALS}trials",
        metric=METRIC,
        search_space={"architecture": list(data.architectures)},
        seed=seed,
        ignore_earlier_jobs=ignore_earlier_jobs,
        progress=follow,
    )
    scores = [float("inf") if score is None else score for _, score in ended]
    best = tuple(min(scores[: place + 1]) for place in range(len(scores)))
    return _Way(best, tuple(time - started[0] for time, _ in ended))
