"""The one training loop: fit → epoch → step, for every network of every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from seedbed_sdk import learner_state
from seedbed_sdk.batches import Batch as Batch
from seedbed_sdk.batches import BatchSource, tensor_of_rows
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner_config import Callback as Callback
from seedbed_sdk.learner_config import LearnerConfig as LearnerConfig
from seedbed_sdk.out_of_memory import is_out_of_memory
from seedbed_sdk.schedule import Pace, steps_that_fit
from seedbed_sdk.trainer import (
    Data,
    Diverged,
    EpochReport,
    Hardware,
    Interrupted,
    RateFindingRun,
    Run,
    SplitArrays,
    Verdict,
)

Transform = Callable[[Batch, torch.Tensor, torch.Generator], tuple[Batch, torch.Tensor]]
WEIGHTS = "network.safetensors"
PLAN_EVERY_SECONDS = 0.25
# A run that was shortened while the machine was busy grows again by no less than this share.
WORTH_GROWING = 0.02


class Learner:
    """Trains a network and is a Trainer.

    `network` takes a dict of tensors as the input blocks encode them, each with the item as first
    axis, and returns raw outputs [B, output size]. `transform(inputs, target, generator)` changes
    training batches, such as augmentation; it runs on the device and may turn class numbers [B]
    into probabilities [B, classes]. `groups` names parts of the network, by prefix of parameter
    names, whose learning rate is multiplied by a factor; the factor 0 freezes them.
    """

    def __init__(
        self,
        network: nn.Module,
        block: DataBlock,
        config: LearnerConfig,
        *,
        hardware: Hardware = Hardware(),  # noqa: B008
        seed: int = 0,
        transform: Transform | None = None,
        groups: Sequence[tuple[str, float]] = (),
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.device = torch.device(hardware.device)
        self.network = network.to(self.device)
        self.block = block
        self.config = config
        self.seed = seed
        self.transform = transform
        self.callbacks = list(callbacks)
        self.optimizer = self._make_optimizer(groups)
        self._trained = [p for p in self.network.parameters() if p.requires_grad]
        self.averaged = self._make_average()
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0
        self.step = 0
        self.samples = 0
        self.total_steps = 0
        self.epochs_since_best = 0
        self.best_state: dict[str, torch.Tensor] | None = None
        self.micro_batch = config.batch_size
        self.fitting = False
        self._global_rng: torch.Tensor | None = None
        self._paused_state: dict[str, torch.Tensor] | None = None
        self._planned_at = -math.inf
        self._predict_seconds: float | None = None
        self._validated_at = 0
        self._most_steps: float = 0
        self._steps_between = math.inf
        self._valid_count = 0
        self._batch_size = config.batch_size

    # --- fit: epochs until the plan, the verdict or a stop ends them -----------------------------

    def fit(self, data: Data, run: Run) -> None:
        """Trains for the configured epochs, or as many steps as time and samples allow; goes on
        where it was after a pause.

        Raises Diverged where loss or outputs stop being finite, and Interrupted where the run was
        stopped before anything was reported.
        """
        with limited_threads(self.threads_for(self.batch_size_for(len(data.train)))):
            self._fit(data, run)

    def learner_for(self, data: Data, run: Run) -> tuple[Learner, Data]:  # noqa: ARG002
        """As `seedbed_sdk.trainer.BatchableTrainer`."""
        return self, data

    def batch_size_for(self, items: int) -> int:
        """How many of so many training items are in a batch."""
        return min(self.config.batch_size, items)

    def threads_for(self, batch_size: int) -> int:  # noqa: ARG002
        """How many of the threads that there are serve a batch best."""
        return torch.get_num_threads()

    def _fit(self, data: Data, run: Run) -> None:
        source = BatchSource(data.train, self.device)
        if self.step == 0 and isinstance(run, RateFindingRun):
            self._offer_range_test(data.train, run)
        batch_size, steps_per_epoch = self._begin(data, run)
        self._restore_global_rng()
        pace = Pace()
        for callback in self.callbacks:
            callback.before_fit(self)
        unscored = math.nan
        while self.step < self.total_steps:
            loss = self._epoch(source, batch_size, steps_per_epoch, run, pace)
            # An epoch that was stopped before its first step still ends those before it.
            loss = unscored if math.isnan(loss) else loss
            if not self._is_to_validate(run):
                unscored = loss
                continue
            unscored = math.nan
            verdict = self._validate(data.valid, loss, steps_per_epoch, run)
            pace.restart()
            if verdict.pause:
                self._pause()
            if verdict.stop or self._out_of_patience() or run.should_stop():
                break
        self._keep_best()
        for callback in self.callbacks:
            callback.after_fit(self)

    def _is_to_validate(self, run: Run) -> bool:
        return (
            self.epoch == 1
            or self.epoch % self.config.validate_every == 0
            or self.step >= self.total_steps
            or run.should_stop()
        )

    def _offer_range_test(self, train: SplitArrays, run: RateFindingRun) -> None:
        from seedbed_sdk.range_test import STEPS, range_test

        cost = STEPS * min(self.config.batch_size, len(train))
        run.find_rate(cost, lambda seconds: range_test(self, train, seconds=seconds))

    def _begin(self, data: Data, run: Run) -> tuple[int, int]:
        """Makes ready for the first step, or the first after a pause: the size of a batch and the
        steps of an epoch."""
        if self._paused_state is not None:
            self.network.load_state_dict(self._paused_state)
            self._paused_state = None
        batch_size = self.batch_size_for(len(data.train))
        self._batch_size = batch_size
        steps_per_epoch = max(1, len(data.train) // batch_size)
        if self.total_steps == 0:
            self.total_steps = self.config.epochs * steps_per_epoch
        affordable = max(self.step + run.samples_left() / batch_size, self.step + 1)
        self._set_length(run, lambda: min(self.total_steps, affordable))
        self._most_steps = min(self.config.epochs * steps_per_epoch, affordable)
        self._valid_count = len(data.valid)
        self._steps_between = self.config.validate_every * steps_per_epoch
        self._validated_at = self.step
        self.fitting = True
        return batch_size, steps_per_epoch

    def _epoch(
        self,
        source: BatchSource,
        batch_size: int,
        steps_per_epoch: int,
        run: Run,
        pace: Pace,
    ) -> float:
        self.network.train()
        order = torch.randperm(len(source), generator=self.generator).to(source.place)
        total = torch.zeros((), device=self.device)
        steps = 0
        first = self.step % steps_per_epoch
        for index in range(first, steps_per_epoch):
            if run.should_stop() or self.step >= self.total_steps:
                break
            rows = order[index * batch_size : (index + 1) * batch_size]
            total += self._step(*source.take(rows))
            steps += 1
            pace.step()
            self._plan(run, pace)
        return self._end_epoch(float(total), steps)

    def _end_epoch(self, total: float, steps: int) -> float:
        """The mean loss of an epoch's steps; NaN where there was none."""
        if steps == 0:
            return math.nan
        self.epoch += 1
        mean = total / steps
        if not math.isfinite(mean):
            raise Diverged(f"the training loss became {mean} in epoch {self.epoch}")
        return mean

    def _step(self, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        loss = self.step_at(self._rate(), batch, target)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        self.step += 1
        self.samples += len(target)
        for callback in self.callbacks:
            callback.after_step(self)
        return loss

    def step_at(self, rate: float, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        """One step of the optimiser with a learning rate; the loss before it. The counters stay."""
        if self.transform is not None:
            batch, target = self.transform(batch, target, self.generator)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        loss = self._backward(batch, target)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._trained, self.config.clip_norm)
        self.optimizer.step()
        return loss

    def _rate(self) -> float:
        """The learning rate of the next step."""
        scheduled = self.config.schedule.multiplier(self.step, self.total_steps)
        return self.config.learning_rate * scheduled

    def _backward(self, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        """Gradients of the whole batch; in smaller and smaller parts where memory is short."""
        while True:
            try:
                for parameter in self._trained:
                    parameter.grad = None
                return self._accumulate(batch, target)
            except (MemoryError, RuntimeError) as error:
                if self.micro_batch <= 1 or not is_out_of_memory(error):
                    raise
                self.micro_batch = max(1, min(self.micro_batch, len(target)) // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _accumulate(self, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        count = len(target)
        if count <= self.micro_batch:
            loss = self._loss(batch, target)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        total = torch.zeros((), device=self.device)
        for start in range(0, count, self.micro_batch):
            part = slice(start, start + self.micro_batch)
            share = len(target[part]) / count
            inputs = {name: tensor[part] for name, tensor in batch.items()}
            loss = self._loss(inputs, target[part]) * share
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _loss(self, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":
            with torch.autocast("cuda", dtype=torch.bfloat16):
                raw = self.network(batch)
        else:
            raw = self.network(batch)
        return self._criterion(raw.float(), target)

    def _criterion(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch's raw outputs. A network of several members overrides it together
        with `_activate`."""
        return self.block.target.loss(raw, target, label_smoothing=self.config.label_smoothing)

    def _activate(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw outputs to the activated ones [B, ...] that metrics and decoding take."""
        return self.block.target.activate(raw)

    def _plan(self, run: Run, pace: Pace) -> None:
        """Makes the run as long as fits into the time left, so that the decay still completes."""
        self._set_length(run, lambda: self._fitting_steps(run, pace))

    def _set_length(self, run: Run, steps: Callable[[], float]) -> None:
        self.total_steps = int(run.decide("total_steps", self.step, self.total_steps, steps))

    def _fitting_steps(self, run: Run, pace: Pace) -> int:
        now = time.monotonic()
        if now - self._planned_at < PLAN_EVERY_SECONDS:
            return self.total_steps
        fits = steps_that_fit(
            run.seconds_left(),
            pace.seconds_per_step,
            self._validation_seconds(pace),
            every=self._steps_between,
            since=self.step - self._validated_at,
        )
        if math.isinf(fits):
            return self.total_steps
        self._planned_at = now
        length = int(min(self._most_steps, self.step + fits))
        longer = length - self.total_steps
        return length if longer <= 0 or longer > WORTH_GROWING * length else self.total_steps

    def _validation_seconds(self, pace: Pace) -> float:
        """What the next validation pass is expected to take: as the last one, or as forward passes
        at a third of a training step's cost."""
        if self._predict_seconds is not None:
            return self._predict_seconds
        return (pace.seconds_per_step or 0.0) * self._valid_count / self._batch_size / 3

    # --- validation and the best state -----------------------------------------------------------

    def _validate(self, valid: SplitArrays, loss: float, steps_per_epoch: int, run: Run) -> Verdict:
        if math.isnan(loss):
            if self.best_state is None:
                raise Interrupted("stopped before the first epoch had ended")
            return Verdict(best=False, stop=True)
        began = time.monotonic()
        outputs = self.predict(valid.inputs)
        self._predict_seconds = time.monotonic() - began
        return self._judge(outputs, loss, self._predict_seconds, steps_per_epoch, run)

    def _judge(
        self, outputs: Array, loss: float, seconds: float, steps_per_epoch: int, run: Run
    ) -> Verdict:
        """Reports an epoch whose validation outputs took `seconds`, and keeps what is best."""
        self._validated_at = self.step
        if not np.isfinite(outputs).all():
            raise Diverged(f"the outputs are not finite after epoch {self.epoch}")
        report = EpochReport(
            epoch=self.epoch,
            epochs=max(self.epoch, math.ceil(self.total_steps / steps_per_epoch)),
            valid_outputs=outputs,
            samples=self.samples,
            train_loss=loss,
            predict_seconds=seconds * self.config.final_predict_cost,
            validation_seconds=seconds,
            every=self.config.validate_every,
        )
        verdict = run.report(report)
        self.epochs_since_best = 0 if verdict.best else self.epochs_since_best + 1
        if verdict.best:
            self.best_state = _copied(self._scored().state_dict())
        for callback in self.callbacks:
            callback.after_epoch(self, report, verdict)
        return verdict

    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.epochs_since_best >= self.config.patience

    def _pause(self) -> None:
        """Keeps what the best weights will take the place of."""
        self._paused_state = _copied(self.network.state_dict())
        self._global_rng = torch.get_rng_state()

    def _keep_best(self) -> None:
        self.fitting = False
        if self.best_state is not None:
            self.network.load_state_dict(self.best_state)

    def _scored(self) -> nn.Module:
        return self.network if self.averaged is None else self.averaged.module

    # --- asking, saving, resuming ----------------------------------------------------------------

    def predict(self, inputs: Arrays) -> Array:
        """Activated outputs [N, output size] as float32, of the averaged weights while training."""
        network = self._scored() if self.fitting else self.network
        network.eval()
        count = len(next(iter(inputs.values())))
        parts = []
        with torch.inference_mode():
            for start in range(0, count, self.config.predict_batch_size):
                part = slice(start, start + self.config.predict_batch_size)
                batch = {
                    name: tensor_of_rows(array, part, self.device) for name, array in inputs.items()
                }
                parts.append(self._activate(network(batch)).cpu())
        if not parts:
            return np.zeros((0, self.block.target.output_size), dtype=np.float32)
        return torch.cat(parts).numpy()

    def save(self, folder: Path) -> None:
        """Writes the weights as safetensors."""
        state = {k: v.contiguous().cpu() for k, v in self.network.state_dict().items()}
        save_file(state, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        """Reads the weights that `save` wrote."""
        self.network.load_state_dict(load_file(folder / WEIGHTS, device=str(self.device)))

    def save_checkpoint(self, folder: Path) -> None:
        """Writes the whole state, so that a resumed run goes on bit for bit: weights, average, best
        weights, optimiser, counters and random state. For use between epochs, and after a pause."""
        learner_state.save(self, folder)

    def load_checkpoint(self, folder: Path) -> None:
        """Reads what `save_checkpoint` wrote, into a learner made with the same arguments."""
        learner_state.load(self, folder)

    # --- parts -----------------------------------------------------------------------------------

    def _make_optimizer(self, groups: Sequence[tuple[str, float]]) -> torch.optim.Optimizer:
        buckets: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            scale = next((factor for prefix, factor in groups if name.startswith(prefix)), 1.0)
            if scale == 0.0:
                parameter.requires_grad_(False)
            if not parameter.requires_grad:
                continue
            buckets.setdefault((scale, parameter.ndim >= 2), []).append(parameter)
        parameters: list[dict[str, Any]] = [
            {
                "params": members,
                "scale": scale,
                "weight_decay": self.config.weight_decay if decays else 0.0,
            }
            for (scale, decays), members in buckets.items()
        ]
        return torch.optim.AdamW(parameters, lr=self.config.learning_rate, fused=True)

    def _make_average(self) -> torch.optim.swa_utils.AveragedModel | None:
        if not self.config.averaging:
            return None
        return torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=_warmed_up_average(self.config.averaging), use_buffers=True
        )

    def _restore_global_rng(self) -> None:
        """Dropout draws from torch's global generator."""
        if self._global_rng is None:
            torch.manual_seed(self.seed)
        else:
            torch.set_rng_state(self._global_rng)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Has torch use so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copied(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def share_kept(decay: float, count: int) -> float:
    """Of an exponential moving average of `count` weights, when the next ones come. It forgets the
    first weights fast, as TensorFlow's `ExponentialMovingAverage` does with `num_updates`."""
    return min(decay, (1.0 + count) / (10.0 + count)) if count else 0.0


def _warmed_up_average(decay: float) -> Callable[..., None]:
    """Takes the next weights into an exponential moving average."""

    @torch.no_grad()
    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], count: int) -> None:
        keep = share_kept(decay, int(count))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value.to(mean.dtype), 1.0 - keep)
            else:
                mean.copy_(value)

    return update
