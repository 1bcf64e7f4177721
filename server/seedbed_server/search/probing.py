"""How long a trial takes and how much memory, by training its settings for a moment."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
import structlog

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.metrics import Metric
from seedbed_sdk.out_of_memory import is_out_of_memory
from seedbed_sdk.space import Parameters
from seedbed_sdk.trainer import (
    Architecture,
    ArrayStore,
    Blueprint,
    ContinuingTrainer,
    Data,
    Diverged,
    EpochReport,
    Hardware,
    Interrupted,
    SplitArrays,
    Trainer,
    UnlimitedRun,
    Verdict,
)
from seedbed_server.executors.memory import give_back_freed_memory
from seedbed_server.search.costs import Cost

log = structlog.get_logger()

NOT_IN_TIME = "nothing could be measured"
FEW_ITEMS = (64, 192)
LEAST_ITEMS = 8
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class TrialCost:
    """Of one trial: `seconds` as a whole, without what later jobs find done, of which
    `begin_seconds` go by before the first epoch; `epoch_seconds` for one of its `epochs`, with its
    share of the validation passes; `samples` passed, `memory_bytes` held at most, and
    `item_seconds` of predicting an item. `shared` are more seconds, by what they go into, which
    only the first of several trials needs.

    Reports come after epoch `first` and every so many epochs; `continues` says whether the trial
    can go on after a pause, and `score` is its best one so far. `served` is what the model costs
    where it is used, if that was asked for and could be measured, after `trained_for` epochs;
    `serving_seconds` went into measuring it. `problem` says why the trial failed, or could not be
    measured; then the rest is 0.
    """

    seconds: float = 0.0
    begin_seconds: float = 0.0
    epoch_seconds: float = 0.0
    epochs: float = 0.0
    samples: float = 0.0
    item_seconds: float = 0.0
    memory_bytes: int = 0
    shared: tuple[tuple[str, float], ...] = ()
    first: int = 1
    every: int = 1
    continues: bool = False
    score: float = math.nan
    served: Cost | None = None
    serving_seconds: float = 0.0
    trained_for: float = 0.0
    problem: str = ""

    @property
    def grows(self) -> bool:
        """Whether the model may become larger than it is, as trees do that are not all grown yet:
        what can go on after a pause is a network."""
        return not self.continues and self.trained_for < self.epochs

    def reports(self) -> list[float]:
        """The shares of the trial's epochs after which it reports, ascending in (0, 1]."""
        count = max(1, round(self.epochs))
        epochs = {min(self.first, count), *range(self.every, count, self.every), count}
        return [epoch / count for epoch in sorted(epochs)]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A report: when it came, and whether its epoch was cut short."""

    seconds: float
    report: EpochReport
    cut: bool


class _KeptArrays:
    """Implements `ArrayStore`, over another one where there is one; `seconds` went into what it
    keeps, by its key."""

    def __init__(self, store: ArrayStore | None) -> None:
        self._store = store
        self.seconds: dict[str, float] = {}

    def get_or_compute(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        began = time.monotonic()
        try:
            return compute() if self._store is None else self._store.get_or_compute(key, compute)
        finally:
            self.seconds[key] = self.seconds.get(key, 0.0) + time.monotonic() - began


class _ProbeRun(UnlimitedRun):
    """Implements `seedbed_sdk.trainer.Run` for a trial that is ended after `limit` seconds of
    training, after twice as many where it has reported only once, and in any case after
    `longest`."""

    def __init__(
        self, metric: Metric, target: Array, limit: float, longest: float, kept: _KeptArrays
    ) -> None:
        self.metric = metric
        self.target = target
        self.limit = limit
        self.longest = longest
        self.kept = kept
        self.best: float | None = None
        self.marks: list[_Mark] = []
        self.stopped = False
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since the beginning, without what later jobs will find done."""
        return time.monotonic() - self._began - sum(self.kept.seconds.values())

    def report(self, report: EpochReport) -> Verdict:
        self.marks.append(_Mark(self.seconds(), report, self.stopped))
        score = self.metric.compute(self.target, report.valid_outputs)
        best = self.best is None or self.metric.better(score, self.best)
        self.best = score if best else self.best
        return Verdict(best, stop=report.epoch < report.epochs and self.should_stop())

    def should_stop(self) -> bool:
        # The first epoch alone would count as one of many what is done only once.
        enough = self.limit if len(self.marks) > 1 else 2 * self.limit
        over = bool(self.marks) and self.seconds() >= enough
        self.stopped = over or time.monotonic() - self._began >= self.longest
        return self.stopped


def probe(
    architecture: Architecture,
    parameters: Parameters,
    block: DataBlock,
    data: Data,
    metric: Metric,
    *,
    hardware: Hardware,
    seed: int,
    limit: float,
    longest: float,
    serve: Callable[[Trainer], Cost | None] = lambda trainer: None,  # noqa: ARG005
) -> TrialCost:
    """What a trial would cost. Trains it to its end where that takes no longer than `limit`
    seconds, else for that long; `longest` includes what comes before the first epoch. Where `data`
    has no store, what would be kept is in `TrialCost.shared`. `serve` measures what the model costs
    where it is used."""
    give_back_freed_memory()
    _forget_peak()
    kept = _KeptArrays(data.store)
    own = Data(data.train, data.valid, data.cache, kept)
    run = _ProbeRun(metric, data.valid.target, limit, longest, kept)
    try:
        trainer = architecture.build(Blueprint(block, parameters, hardware, seed))
        trainer.fit(own, run)
    except Interrupted:
        return TrialCost(problem=f"{NOT_IN_TIME} within {longest:.0f} s")
    except Diverged as error:
        return TrialCost(problem=f"diverges: {error}")
    except BaseException as error:  # noqa: BLE001 - a plugin's model may raise anything
        if is_out_of_memory(error):
            return TrialCost(problem="needs more memory than there is")
        return TrialCost(problem=f"crashes: {type(error).__name__}: {error}")
    if not run.marks:
        return TrialCost(problem="the model reported no score")
    cost = _cost(run, len(data.train), len(data.valid), _peak(hardware))
    began = time.monotonic()
    served = _served(trainer, serve)
    cost = replace(
        cost,
        continues=isinstance(trainer, ContinuingTrainer),
        score=math.nan if run.best is None else run.best,
        served=served,
        serving_seconds=time.monotonic() - began,
    )
    if data.store is None:
        return replace(cost, shared=tuple(kept.seconds.items()))
    return cost


def probe_on_parts(
    architecture: Architecture,
    parameters: Parameters,
    block: DataBlock,
    data: Data,
    metric: Metric,
    *,
    hardware: Hardware,
    seed: int,
    limit: float,
    longest: float,
    serve: Callable[[Trainer], Cost | None] = lambda trainer: None,  # noqa: ARG005
) -> TrialCost:
    """`probe` for what takes long before its first epoch: on few items and on three times as many,
    from which follows what it would be on all. `limit` and `longest` are of each."""
    count = len(data.train)
    costs: list[TrialCost] = []
    for items in FEW_ITEMS:
        share = min(1.0, items / count)
        part = Data(_part(data.train, share), _part(data.valid, share))
        cost = probe(
            architecture,
            parameters,
            block,
            part,
            metric,
            hardware=hardware,
            seed=seed,
            limit=limit,
            longest=longest,
            **({"serve": serve} if costs else {}),
        )
        if cost.problem:
            return cost
        costs.append(cost)
    few, more = costs
    steps = (count - FEW_ITEMS[1]) / (FEW_ITEMS[1] - FEW_ITEMS[0])

    def of_all(small: float, large: float) -> float:
        return large + max(0.0, large - small) * max(0.0, steps)

    before = dict(few.shared)
    return replace(
        more,
        seconds=of_all(few.seconds, more.seconds),
        begin_seconds=of_all(few.begin_seconds, more.begin_seconds),
        epoch_seconds=of_all(few.epoch_seconds, more.epoch_seconds),
        samples=more.samples * max(1.0, count / FEW_ITEMS[1]),
        memory_bytes=max(few.memory_bytes, more.memory_bytes),
        shared=tuple((key, of_all(before.get(key, 0.0), s)) for key, s in more.shared),
    )


def _part(split: SplitArrays, share: float) -> SplitArrays:
    """Items from all over, since they may be sorted."""
    count = max(LEAST_ITEMS, round(share * len(split)))
    rows = np.unique(np.linspace(0, len(split) - 1, count).astype(int))
    return SplitArrays({name: a[rows] for name, a in split.inputs.items()}, split.target[rows])


def _served(trainer: Trainer, serve: Callable[[Trainer], Cost | None]) -> Cost | None:
    try:
        return serve(trainer)
    except Exception as error:  # noqa: BLE001 - a plugin's model may raise anything
        log.warning("model_not_measured", why=f"{type(error).__name__}: {error}")
        return None


def _cost(run: _ProbeRun, items: int, valid_items: int, memory: int) -> TrialCost:
    first = run.marks[0]
    last = run.marks[-2] if run.marks[-1].cut and len(run.marks) > 2 else run.marks[-1]
    seen, marks = last.report, run.marks[: run.marks.index(last) + 1]
    # Not by the first, in which much is done that is done once.
    passes = marks[1:] or marks
    validating = mean(_validating(mark.report) for mark in passes)
    spent, samples, epochs = last.seconds, seen.samples, float(seen.epoch)
    if last is not first:
        spent -= first.seconds
        samples -= first.report.samples
        epochs -= first.report.epoch
    if last.cut:
        epochs = samples / items
    training = max(0.0, spent - len(passes) * validating) / max(epochs, 1.0 / items)
    whole = float(seen.epochs if run.stopped else seen.epoch)
    cost = TrialCost(
        epochs=whole,
        samples=items * whole if last.cut else seen.samples / max(1, seen.epoch) * whole,
        item_seconds=seen.predict_seconds / max(1, valid_items),
        memory_bytes=memory,
        first=first.report.epoch,
        every=seen.every,
        trained_for=float(run.marks[-1].report.epoch),
    )
    working = training * whole + validating * len(cost.reports())
    before = 0.0
    if last is not first:
        before = first.seconds - training * first.report.epoch - _validating(first.report)
    seconds = max(0.0, before) + working if run.stopped else run.seconds()
    return replace(
        cost,
        seconds=seconds,
        begin_seconds=min(seconds, max(0.0, before)),
        epoch_seconds=working / max(1.0, whole),
    )


def _validating(report: EpochReport) -> float:
    """The seconds of a report's validation pass."""
    seconds = report.validation_seconds
    return report.predict_seconds if seconds is None else seconds


def _forget_peak() -> None:
    """Makes Linux measure the largest memory anew."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def _peak(hardware: Hardware) -> int:
    """The most memory that the process has held since, in bytes; an accelerator's is added."""
    extra = 0
    if hardware.accelerated:
        import torch

        extra = torch.cuda.max_memory_allocated(hardware.device)
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 + extra
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit + extra
