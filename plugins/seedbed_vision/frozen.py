"""A frozen backbone whose features are computed once a job, and a head that is trained on them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.trainer import Blueprint, Data, Interrupted, Run, SplitArrays
from seedbed_vision import backbones
from seedbed_vision.augment import resize
from seedbed_vision.networks import FeatureHead

WEIGHTS = "classifier.safetensors"
BATCH = 64
SHARE_OF_TIME = 0.5


@dataclass(frozen=True, slots=True)
class Features:
    """Features [N, views, F] of both splits. `rows` are the training items that were used: all,
    unless the time left allows fewer."""

    train: Array
    valid: Array
    rows: Array


class FrozenBackboneTrainer:
    """Trains a head on the features of the picture and its mirror image.

    All trials of a job with the same backbone, resolution and views share the features.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        parameters = blueprint.parameters
        self.blueprint = blueprint
        self.resolution = int(parameters["resolution"])
        self.flip = bool(parameters["flip"])
        self.name = str(parameters["backbone"])
        self.device = torch.device(blueprint.hardware.device)
        self._backbone: nn.Module | None = None
        classes = blueprint.block.target.output_size
        size = feature_size(self.name)
        torch.manual_seed(blueprint.seed)
        self.learner = Learner(
            FeatureHead(size, classes, dropout=float(parameters["dropout"])),
            blueprint.block,
            LearnerConfig(
                epochs=int(parameters["epochs"]),
                learning_rate=float(parameters["learning_rate"]),
                weight_decay=float(parameters["weight_decay"]),
                batch_size=128,
                label_smoothing=0.1,
            ),
            hardware=blueprint.hardware,
            seed=blueprint.seed,
        )

    def fit(self, data: Data, run: Run) -> None:
        """Computes the features unless another trial has, then trains the head."""
        key = ("features", self.name, self.resolution, self.flip, self.device)
        features = data.cached(key, lambda: self._compute(data, run))
        target = data.train.target[features.rows]
        self.learner.fit(
            Data(
                SplitArrays({"features": features.train}, target),
                SplitArrays({"features": features.valid}, data.valid.target),
            ),
            run,
        )

    def predict(self, inputs: Arrays) -> Array:
        """Probabilities [N, classes] of uint8 pictures [N, H, W, 3]."""
        return self.learner.predict({"features": self._features(inputs["image"])})

    def save(self, folder: Path) -> None:
        """Writes backbone and head into one file."""
        backbone = {f"backbone.{k}": v for k, v in self._network().state_dict().items()}
        head = {f"head.{k}": v for k, v in self.learner.network.state_dict().items()}
        tensors = {name: t.contiguous().cpu() for name, t in (backbone | head).items()}
        save_file(tensors, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote; needs no pretrained weights."""
        tensors = load_file(folder / WEIGHTS, device=str(self.device))
        self._backbone = backbones.build(self.name, pretrained=False).to(self.device).eval()
        for prefix, module in (("backbone.", self._backbone), ("head.", self.learner.network)):
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            module.load_state_dict(own)

    def _network(self) -> nn.Module:
        if self._backbone is None:
            network = backbones.build(self.name, pretrained=True, frozen=10**6)
            self._backbone = network.to(self.device).eval()
        return self._backbone

    def _compute(self, data: Data, run: Run) -> Features:
        images = data.train.inputs["image"]
        began = time.monotonic()
        first = self._features(images[:BATCH])
        each = (time.monotonic() - began) / len(first)
        rows = self._affordable(len(images), each, run)
        run.log(f"running {self.name} over {len(rows) + len(data.valid)} pictures once")
        rest = self._features(images[rows[BATCH:]], run)
        train = np.concatenate([first, rest]) if len(rest) else first
        return Features(train, self._features(data.valid.inputs["image"], run), rows)

    def _affordable(self, count: int, seconds_each: float, run: Run) -> Array:
        """The training items there is time for: the first batch, which was done to measure, and a
        random choice of the others."""
        seconds = run.seconds_left() * SHARE_OF_TIME
        if math.isinf(seconds) or seconds_each * count <= seconds:
            return np.arange(count)
        wanted = max(BATCH, int(seconds / seconds_each))
        run.log(f"time allows {wanted} of {count} pictures")
        others = np.random.default_rng(self.blueprint.seed).permutation(np.arange(BATCH, count))
        return np.concatenate([np.arange(min(BATCH, count)), others[: wanted - BATCH]])

    def _features(self, images: Array, run: Run | None = None) -> Array:
        """[N, views, F] as float32; raises Interrupted where the run is to stop."""
        network = self._network()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                if run is not None and run.should_stop():
                    raise Interrupted("stopped while the features were computed")
                batch = torch.from_numpy(images[start : start + BATCH]).to(self.device)
                pixels = resize(batch, self.resolution)
                views = [pixels, pixels.flip(2)] if self.flip else [pixels]
                parts.append(torch.stack([network(view) for view in views], dim=1).cpu())
        if not parts:
            return np.zeros((0, 1 + self.flip, feature_size(self.name)), dtype=np.float32)
        return torch.cat(parts).float().numpy()


def feature_size(name: str) -> int:
    """How many features the backbone gives."""
    if name == backbones.LITE:
        from seedbed_vision.lite import LiteBackbone

        return LiteBackbone.feature_size
    return int(backbones.build(name, pretrained=False).feature_size)  # type: ignore[arg-type]
