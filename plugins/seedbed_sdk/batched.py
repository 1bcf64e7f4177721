"""Several learners trained as one network: the same results, in a fraction of the time where the
networks are so small that a step is mostly overhead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from seedbed_sdk.batches import BatchSource
from seedbed_sdk.learner import Learner, limited_threads
from seedbed_sdk.schedule import Pace
from seedbed_sdk.stacked_steps import Feed, Together
from seedbed_sdk.trainer import Data, Diverged, Interrupted, Run, SplitArrays, Verdict


class BatchedLearner:
    """Trains K learners whose networks have the same shapes side by side on one device.

    Learning rate, schedule, epochs, weight decay, label smoothing, clipping, averaging, patience,
    shares of dropout and seed may differ. Each learner draws its own batches and dropout, reports
    to its own run, stops by itself, and is as after its own `fit`. Where the others have ended and
    too few are left to gain, they go on one by one. Results are equal within rounding on a CPU,
    which also depends on how many there are, and the same each time for the same learners. On an
    accelerator dropout draws other noise than a lone learner does.

    Raises ValueError where the learners cannot be trained together; see `hindrance`.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        if reason := hindrance(learners):
            raise ValueError(f"these learners cannot be trained together: {reason}")
        self.learners = list(learners)

    def fit(self, data: Data, runs: Sequence[Run]) -> list[Diverged | Interrupted | None]:
        """Trains as `Learner.fit` does. Returns what each one's would have raised, while the others
        go on.

        Raises ValueError where the runs are too few or too many, or the learners' batches differ
        in size, and RuntimeError where the network does what cannot be done for several at once.
        """
        if len(runs) != len(self.learners):
            raise ValueError(f"{len(self.learners)} learners need as many runs, not {len(runs)}")
        first = self.learners[0]
        items = first.batch_size_for(len(data.train)) * len(self.learners)
        with limited_threads(first.threads_for(items)):
            return self._fit(data, runs)

    def _fit(self, data: Data, runs: Sequence[Run]) -> list[Diverged | Interrupted | None]:
        plans = {
            learner._begin(data, run) for learner, run in zip(self.learners, runs, strict=True)
        }
        if len(plans) > 1:
            raise ValueError(f"the learners need batches of one size, not {sorted(plans)}")
        members = [
            _Member(place, learner, run, _generator(learner))
            for place, (learner, run) in enumerate(zip(self.learners, runs, strict=True))
        ]
        fitting = _Fitting(data, members, *plans.pop())
        try:
            fitting.run()
        finally:
            fitting.release()
        return fitting.outcomes


def hindrance(learners: Sequence[Learner]) -> str | None:
    """Why learners cannot be trained together; None where nothing is known to hinder it."""
    if not learners:
        return "there are none"
    first = learners[0]
    checks: dict[str, Callable[[Learner], object]] = {
        "they lie on different devices": lambda own: own.device,
        "they are at different steps": lambda own: own.step,
        "their networks differ": lambda own: _structure(own.network),
        "their networks differ in shapes": lambda own: _shapes(own.network),
        "they train different parameters": lambda own: _trained(own),
        "not all of them transform batches": lambda own: own.transform is None,
    }
    for own in learners:
        ways = type(own).fit, type(own).predict
        if type(own) is not type(first) or ways != (Learner.fit, Learner.predict):
            return "they train in a way of their own"
        if own.config.validate_every > 1:
            return "one of them is not validated after each epoch"
        if own.callbacks:
            return "one of them has callbacks"
        if not own.optimizer.param_groups:
            return "there is nothing to train"
    if any(p.dtype != torch.float32 for p in first.network.parameters()):
        return "their weights are not float32"
    for reason, aspect in checks.items():
        wanted = aspect(first)
        if not all(_same(aspect(own), wanted) for own in learners[1:]):
            return reason
    return None


def same_data(one: Data, other: Data) -> bool:
    """Whether two learners are to be trained on the same: on the same arrays of inputs, which are
    not looked into, and on equal targets."""
    return _same_split(one.train, other.train) and _same_split(one.valid, other.valid)


def _same_split(one: SplitArrays, other: SplitArrays) -> bool:
    return (
        one.inputs.keys() == other.inputs.keys()
        and all(array is other.inputs[name] for name, array in one.inputs.items())
        and (one.target is other.target or np.array_equal(one.target, other.target))
    )


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):
        # Arrays and tensors do not say it with one word.
        return False


def _structure(network: nn.Module) -> list[tuple[str, type, dict[str, object]]]:
    """All that makes a network but its tensors and shares of dropout."""
    return [
        (
            name,
            type(module),
            {
                key: value
                for key, value in vars(module).items()
                if not key.startswith("_")
                and key != "training"
                and not (key == "p" and isinstance(module, nn.Dropout))
            },
        )
        for name, module in network.named_modules()
    ]


def _shapes(network: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}


def _trained(learner: Learner) -> list[tuple[str, float]]:
    scales = {id(p): g["scale"] for g in learner.optimizer.param_groups for p in g["params"]}
    return [(n, scales[id(p)]) for n, p in learner.network.named_parameters() if p.requires_grad]


def _generator(learner: Learner) -> torch.Generator:
    """Draws what a lone learner draws from torch's global generator."""
    generator = torch.Generator(learner.device)
    if learner._global_rng is None or learner.device.type != "cpu":
        return generator.manual_seed(learner.seed)
    generator.set_state(learner._global_rng)
    return generator


@dataclass(slots=True, eq=False)
class _Member:
    """A learner that takes part; `loss` is the sum over the `steps` of its epoch."""

    place: int
    learner: Learner
    run: Run
    generator: torch.Generator
    loss: float = 0.0
    steps: int = 0

    @property
    def at_end(self) -> bool:
        return self.learner.step >= self.learner.total_steps

    def end_epoch(self) -> float:
        """The epoch's mean loss. Raises Diverged."""
        total, steps = self.loss, self.steps
        self.loss, self.steps = 0.0, 0
        return self.learner._end_epoch(total, steps)


class _Fitting:
    """One run of `BatchedLearner.fit`."""

    def __init__(
        self, data: Data, members: Sequence[_Member], batch_size: int, steps_per_epoch: int
    ) -> None:
        self._data = data
        self._device = members[0].learner.device
        self._source = BatchSource(data.train, self._device)
        self._batch_size = batch_size
        self._steps_per_epoch = steps_per_epoch
        self._pace = Pace()
        self.outcomes: list[Diverged | Interrupted | None] = [None] * len(members)
        self._members: list[_Member] = []
        self._together: Together | None = None
        self._join(members)

    def run(self) -> None:
        """Trains until the last one has ended."""
        self._end([member for member in self._members if member.at_end])
        while self._members:
            self._epoch()
            if self._members:
                assert self._together is not None
                least = self._together.least
                self._validate()
                self._pace.restart()
                if len(self._members) < min(least, len(self.outcomes)):
                    self._go_on_alone()

    def release(self) -> None:
        """Gives the learners that are left their own tensors."""
        if self._together is not None:
            self._together.stack.release()
            self._together = None

    def _go_on_alone(self) -> None:
        """Has each of those that are left train to its end by itself, since they are so few."""
        members = self._members
        self._part(members)
        for member in members:
            if self._device.type == "cpu":
                member.learner._global_rng = member.generator.get_state()
            try:
                member.learner.fit(self._data, member.run)
            except (Diverged, Interrupted) as reason:
                self.outcomes[member.place] = reason

    def _epoch(self) -> None:
        first = self._members[0].learner.step % self._steps_per_epoch
        learners = [member.learner for member in self._members]
        feed = Feed(self._source, self._data.train, learners, self._batch_size)
        for index in range(first, self._steps_per_epoch):
            leaving = [m for m in self._members if m.at_end or m.run.should_stop()]
            if leaving:
                feed.keep([k for k, m in enumerate(self._members) if m not in leaving])
                self._leave_early(leaving)
                if not self._members:
                    return
            assert self._together is not None
            self._together.step(*feed.take(index))
            for member in self._members:
                member.steps += 1
                member.learner.step += 1
                member.learner.samples += self._batch_size
            self._pace.step()
            for member in self._members:
                member.learner._plan(member.run, self._pace)
        self._settle()

    def _validate(self) -> None:
        """Reports the epoch that all have ended, and lets go of those that end with it."""
        assert self._together is not None
        began = time.monotonic()
        outputs = self._together.predict(self._data.valid)
        seconds = time.monotonic() - began
        each = seconds / len(self._members)
        leaving = []
        for member, own in zip(self._members, outputs, strict=True):
            learner = member.learner
            learner._predict_seconds = seconds
            try:
                loss = member.end_epoch()
                verdict = learner._judge(own, loss, each, self._steps_per_epoch, member.run)
            except Diverged as diverged:
                self.outcomes[member.place] = diverged
                leaving.append(member)
                continue
            if verdict.pause:
                self._pause(member)
            stops = verdict.stop or learner._out_of_patience() or member.run.should_stop()
            if stops or member.at_end:
                leaving.append(member)
        self._end(leaving)

    def _leave_early(self, leaving: Sequence[_Member]) -> None:
        """Has some end their epoch here, each by itself, and then the run."""
        self._settle()
        self._part(leaving)
        for member in leaving:
            learner = member.learner
            try:
                verdict: Verdict = learner._validate(
                    self._data.valid, member.end_epoch(), self._steps_per_epoch, member.run
                )
            except (Diverged, Interrupted) as reason:
                self.outcomes[member.place] = reason
                continue
            if verdict.pause:
                self._pause(member)
            learner._keep_best()

    def _end(self, leaving: Sequence[_Member]) -> None:
        """Ends the run of some, with their best weights in place."""
        if not leaving:
            return
        self._part(leaving)
        for member in leaving:
            if self.outcomes[member.place] is None:
                member.learner._keep_best()

    def _pause(self, member: _Member) -> None:
        member.learner._pause()
        if self._device.type == "cpu":
            member.learner._global_rng = member.generator.get_state()

    def _settle(self) -> None:
        """Reads the losses of the steps since the last time."""
        assert self._together is not None
        for member, loss in zip(self._members, self._together.take_losses(), strict=True):
            member.loss += loss

    def _part(self, leaving: Sequence[_Member]) -> None:
        gone = {member.place for member in leaving}
        self.release()
        self._join([member for member in self._members if member.place not in gone])

    def _join(self, members: Sequence[_Member]) -> None:
        self._members = list(members)
        if members:
            self._together = Together(
                [member.learner for member in members], [member.generator for member in members]
            )
