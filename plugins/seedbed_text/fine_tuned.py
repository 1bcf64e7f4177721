"""A sentence encoder that is trained on by the recipe of ULMFiT (Howard and Ruder 2018)."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seedbed_sdk.blocks.base import Arrays
from seedbed_sdk.blocks.text import texts_of
from seedbed_sdk.learner import Batch, Callback, Learner, LearnerConfig
from seedbed_sdk.schedule import Schedule
from seedbed_sdk.trainer import Blueprint, Data, Interrupted, Run, SplitArrays
from seedbed_text import encoders
from seedbed_text.converted import ConvertedTrainer
from seedbed_text.encoder import Encoder

RATE_STEP = 2.6
HEAD_FACTOR = 10.0
UNFROZEN_BY = 0.4
BATCH_SIZE = 32
MIN_STEPS = 50
STEP_COST = 2.5
SLANTED_TRIANGLE = Schedule(warmup_fraction=0.1, decay_fraction=0.9)


class TextClassifier(nn.Module):
    """A sentence encoder and a linear head: `ids` [B, L] and `length` [B] to raw outputs
    [B, outputs]."""

    def __init__(self, encoder: Encoder, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.width, outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        raw: torch.Tensor = self.head(self.dropout(self.encoder(batch)))
        return raw


class GradualUnfreezing(Callback):
    """Trains the head alone first, then one layer after the other from the last on, evenly over the
    first 40 % of the run. By shares of the run, since it may be shortened while it goes on."""

    def __init__(self, layers: list[nn.Module]) -> None:
        self.layers = layers

    def before_fit(self, learner: Learner) -> None:
        self._set(learner)

    def after_step(self, learner: Learner) -> None:
        self._set(learner)

    def _set(self, learner: Learner) -> None:
        done = learner.step / max(1, learner.total_steps)
        count = len(self.layers)
        open_layers = math.floor(done / UNFROZEN_BY * count)
        for index, layer in enumerate(self.layers):
            layer.requires_grad_(index >= count - open_layers)


class FineTunedTrainer(ConvertedTrainer):
    """Trains the last `trained_layers` layers and the head, each layer with a 2.6 times smaller
    learning rate than the one after it; `learning_rate` is the last layer's."""

    def __init__(self, blueprint: Blueprint) -> None:
        parameters = blueprint.parameters
        self.blueprint = blueprint
        self.name = str(parameters["encoder"])
        self.max_tokens = int(parameters["max_tokens"])
        self._tokenizer: encoders.Tokenizer | None = None

    def splits(self, data: Data, run: Run) -> tuple[SplitArrays, Arrays]:
        key = ("tokens", self.name, self.max_tokens)
        train = data.cached((*key, "train"), lambda: self.convert(data.train.inputs))
        valid = data.cached((*key, "valid"), lambda: self.convert(data.valid.inputs))
        self.learner = self._learner(encoders.load(self.name))
        self._require_time(train, len(valid["length"]), run)
        run.log(f"fine-tuning {self.name}")
        return SplitArrays(train, data.train.target), valid

    def convert(self, inputs: Arrays) -> Arrays:
        if self._tokenizer is None:
            self._tokenizer = encoders.Tokenizer(self.name)
        return self._tokenizer(texts_of(inputs), self.max_tokens)

    def save(self, folder: Path) -> None:
        """Writes the network with its encoder, and the tokenizer."""
        super().save(folder)
        assert self._tokenizer is not None
        self._tokenizer.save(folder)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote; needs no installed weights."""
        self.learner = self._learner(Encoder(encoders.SHAPES[self.name]))
        self._tokenizer = encoders.Tokenizer(self.name, folder / encoders.TOKENIZER)
        super().load(folder)

    def _require_time(self, train: Arrays, valid: int, run: Run) -> None:
        """Raises Interrupted where there is no time for a useful number of steps."""
        if math.isinf(run.seconds_left()):
            return
        rows = np.linspace(0, len(train["length"]) - 1, BATCH_SIZE).astype(int)
        batch = {name: array[rows] for name, array in train.items()}
        # The first pass reads the weights in, which later ones do not.
        self.learner.predict({name: array[:1] for name, array in batch.items()})
        began = time.monotonic()
        self.learner.predict(batch)
        each = (time.monotonic() - began) / BATCH_SIZE
        steps = min(len(train["length"]), MIN_STEPS * BATCH_SIZE)
        needed = each * (steps * STEP_COST + valid)
        if needed > run.seconds_left():
            raise Interrupted(
                f"{MIN_STEPS} steps and a validation pass take about {needed:.0f} s, and "
                f"{run.seconds_left():.0f} s are left"
            )

    def _learner(self, encoder: Encoder) -> Learner:
        parameters = self.blueprint.parameters
        torch.manual_seed(self.blueprint.seed)
        network = TextClassifier(
            encoder,
            self.blueprint.block.target.output_size,
            dropout=float(parameters["dropout"]),
        )
        trained = list(encoder.layers)[-int(parameters["trained_layers"]) :]
        first = len(encoder.layers) - len(trained)
        groups = [
            (f"encoder.layers.{first + i}.", RATE_STEP ** (i + 1 - len(trained)))
            for i in range(len(trained))
        ]
        return Learner(
            network,
            self.blueprint.block,
            LearnerConfig(
                epochs=int(parameters["epochs"]),
                learning_rate=float(parameters["learning_rate"]),
                weight_decay=float(parameters["weight_decay"]),
                batch_size=BATCH_SIZE,
                predict_batch_size=64,
                clip_norm=1.0,
                schedule=SLANTED_TRIANGLE,
            ),
            hardware=self.blueprint.hardware,
            seed=self.blueprint.seed,
            groups=[*groups, ("head.", HEAD_FACTOR), ("encoder.", 0.0)],
            callbacks=[GradualUnfreezing(trained)],
        )
