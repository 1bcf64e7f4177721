"""Whether a learning rate range test finds a better rate than the portfolio's default: the
validation scores after both, and after the best of seven rates."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.measure import Case, compare

NAME = "learning_rates"
GRID = 7
FOLDER = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Pair:
    """An architecture and data: a sample, a file of the shared folder, or digits as pictures."""

    architecture: str
    task: str
    data: str
    target: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)


PAIRS = {
    "tabm on breast_cancer": Pair("tabm", "tabular", "sample://breast_cancer", "target"),
    "tabm on diabetes": Pair("tabm", "tabular", "sample://diabetes", "target"),
    "tabm on digits": Pair("tabm", "tabular", "sample://digits", "target"),
    "tabm on adult": Pair("tabm", "tabular", "adult-train.csv", "income", {"epochs": 4}),
    "small_convnet on digits": Pair(
        "small_convnet", "image_classification", "digits", "", {"epochs": 4}
    ),
    "frozen_backbone on cifar10": Pair("frozen_backbone", "image_classification", "cifar10-2k.zip"),
    "bag_of_embeddings on sms": Pair(
        "bag_of_embeddings", "text_classification", "sms-train.csv", "label"
    ),
    "dot_product_bias on movielens": Pair(
        "dot_product_bias", "collaborative_filtering", "movielens-train.csv", "rating"
    ),
}


def run(rounds: int) -> Iterator[Case]:
    """One case for each pair; a round is a seed."""
    for name in PAIRS:
        yield measure(name, rounds)


def measure(name: str, rounds: int) -> Case:
    """The case of one pair. Ours is the rate that was found, theirs the default."""
    scores, said = [], []
    metric = ""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(rounds):
            bench = _Bench(PAIRS[name], Path(folder), seed)
            metric = bench.metric.name
            default = float(bench.settings["learning_rate"])
            found, seconds = bench.found()
            grid = {rate: bench.score(rate) for rate in bench.grid()}
            best = _best(grid, bench.metric)
            of_default = bench.score(default)
            of_found = bench.score(found)
            scores.append((of_found, of_default))
            said.append(
                f"{found:.2g} found in {seconds:.1f} s, default {default:.2g}, "
                f"best of {GRID} {best:.2g} with {grid[best]:.4f}"
            )
            higher = bench.metric.higher_is_better
    mean = f"means {fmean(a for a, _ in scores):.4f} and {fmean(b for _, b in scores):.4f}"
    return compare(
        NAME,
        f"{name}: {metric} on the validation split; theirs: the default rate; {mean}; by seed "
        + "; ".join(said),
        scores,
        unit=metric,
        limit="none: it decides whether the search uses it unasked",
        higher_is_better=higher,
    )


def _best(grid: Mapping[float, float], metric: Any) -> float:
    best = next(iter(grid))
    for rate, score in grid.items():
        best = rate if metric.better(score, grid[best]) else best
    return best


class _Found(Exception):
    """The range test is done; nothing is to be trained."""


class _Bench:
    """A pair with its data prepared."""

    def __init__(self, pair: Pair, folder: Path, seed: int) -> None:
        from seedbed_sdk.registry import load
        from seedbed_sdk.trainer import Data, Hardware
        from seedbed_server.data import reading, references
        from seedbed_server.data.sources import DataSource
        from seedbed_server.search.check import make_plan

        registry = load()
        uri = _digits(folder) if pair.data == "digits" else pair.data
        uri = uri if "://" in uri or uri.startswith("/") else str((FOLDER / uri).resolve())
        policy = references.Policy((folder, FOLDER.resolve()), folder)
        resolved = references.resolve([DataSource(uri)], policy)
        plan = make_plan(
            registry,
            reading.look(resolved, policy, samples=registry.samples).dataset,
            task_name=pair.task,
            target=pair.target,
            options={},
            metric_name="",
            search_space={},
            hardware=Hardware(),
        )
        prepared = plan.block.prepare(seed)
        self.seed = seed
        self.plan = plan
        # Log loss tells rates apart that give the same classes.
        names = {metric.name: metric for metric in registry.metrics_of(plan.block.target)}
        self.metric = names.get("log_loss", plan.metric)
        self.data = Data(prepared.train, prepared.valid)
        self.architecture = plan.space.architectures[pair.architecture]
        self.settings = {**self.architecture.portfolio[0], **pair.settings}

    def grid(self) -> list[float]:
        """Seven rates over the whole of the space, the same factor apart."""
        space: Any = self.architecture.space["learning_rate"]
        step = (space.high / space.low) ** (1.0 / (GRID - 1))
        return [space.low * step**place for place in range(GRID)]

    def score(self, rate: float) -> float:
        """The best validation score of a whole trial."""
        from seedbed_sdk.testing import RecordingRun

        run = RecordingRun(self.metric, self.data.valid.target)
        self._trainer(rate).fit(self.data, run)
        return run.best_score

    def found(self) -> tuple[float, float]:
        """The rate that the range test suggests, within the space, and the seconds it took."""
        from seedbed_sdk.learner import Learner
        from seedbed_sdk.range_test import range_test
        from seedbed_sdk.testing import RecordingRun

        fit = Learner.fit
        answers: list[tuple[float, float]] = []
        default = float(self.settings["learning_rate"])
        space: Any = self.architecture.space["learning_rate"]

        def instead(learner: Learner, data: Any, _: Any) -> None:
            began = time.monotonic()
            rate = range_test(learner, data.train).suggested or default
            answers.append((min(max(rate, space.low), space.high), time.monotonic() - began))
            raise _Found

        Learner.fit = instead  # type: ignore[method-assign]
        try:
            self._trainer(default).fit(self.data, RecordingRun(self.metric, self.data.valid.target))
        except _Found:
            return answers[0]
        finally:
            Learner.fit = fit  # type: ignore[method-assign]
        raise AssertionError("the architecture has no Learner")

    def _trainer(self, rate: float) -> Any:
        from seedbed_sdk.trainer import Blueprint

        settings = {**self.settings, "learning_rate": rate}
        return self.architecture.build(Blueprint(self.plan.block, settings, seed=self.seed))


def _digits(folder: Path) -> str:
    """scikit-learn's digits as pictures in a folder for each class; the folder's path."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    root = folder / "digits"
    for index, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = root / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray((pixels * 15).astype(np.uint8)).save(path)
    return str(root)
