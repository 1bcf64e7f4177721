"""A frozen backbone that is run over the pictures once, and a head trained on its features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.trainer import Blueprint, Data, Run, SplitArrays
from seedbed_vision import backbones
from seedbed_vision.augment import resize
from seedbed_vision.networks import FeatureHead, is_natural, label_smoothing
from seedbed_vision.precompute import BATCH, features_of

WEIGHTS = "classifier.safetensors"


class OnFrozenBackbone(ABC):
    """A head that is trained on what a frozen backbone says of the picture and its mirror image,
    and saved in one file with it.

    All trials with the same backbone, resolution and views share the features, also across jobs.
    """

    features: str

    def __init__(self, blueprint: Blueprint) -> None:
        parameters = blueprint.parameters
        self.blueprint = blueprint
        self.resolution = int(parameters["resolution"])
        self.flip = bool(parameters["flip"]) and is_natural(blueprint.block)
        self.name = str(parameters["backbone"])
        self.device = torch.device(blueprint.hardware.device)
        self._backbone: nn.Module | None = None
        torch.manual_seed(blueprint.seed)
        self.learner = self._make_learner()

    @abstractmethod
    def _make_learner(self) -> Learner:
        """The learner of the head."""

    @abstractmethod
    def _encode(self, images: Array) -> dict[str, Array]:
        """What the head takes, by name, for uint8 pictures [B, H, W, C]."""

    def fit(self, data: Data, run: Run) -> None:
        """Computes the features unless that was done before, then trains the head."""
        learner, own = self.learner_for(data, run)
        learner.fit(own, run)

    def learner_for(self, data: Data, run: Run) -> tuple[Learner, Data]:
        """The head's learner and the features of both splits."""
        key = (self.features, self.name, self.resolution, self.flip)
        features = features_of(data, run, key, self._encode)
        return self.learner, Data(
            SplitArrays(features.train, data.train.target[features.rows]),
            SplitArrays(features.valid, data.valid.target),
        )

    def save_checkpoint(self, folder: Path) -> None:
        """The state of the head's training; the backbone does not change."""
        self.learner.save_checkpoint(folder)

    def load_checkpoint(self, folder: Path) -> None:
        """Reads what `save_checkpoint` wrote."""
        self.learner.load_checkpoint(folder)

    def predict(self, inputs: Arrays) -> Array:
        """Activated outputs [N, ...] of uint8 pictures [N, H, W, C]."""
        images = inputs["image"]
        starts = range(0, max(1, len(images)), BATCH)
        parts = [self.learner.predict(self._encode(images[i : i + BATCH])) for i in starts]
        return np.concatenate(parts)

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

    def _views(self, images: Array) -> list[torch.Tensor]:
        """The pictures as the backbone takes them, and mirrored where that is wanted."""
        pixels = resize(torch.tensor(images, device=self.device), self.resolution)
        return [pixels, pixels.flip(2)] if self.flip else [pixels]


class FrozenBackboneTrainer(OnFrozenBackbone):
    """A linear head on the pooled features."""

    features = "features"

    def _make_learner(self) -> Learner:
        parameters, block = self.blueprint.parameters, self.blueprint.block
        head = FeatureHead(
            feature_size(self.name),
            block.target.output_size,
            dropout=float(parameters["dropout"]),
        )
        return Learner(
            head,
            block,
            LearnerConfig(
                epochs=int(parameters["epochs"]),
                learning_rate=float(parameters["learning_rate"]),
                weight_decay=float(parameters["weight_decay"]),
                batch_size=128,
                label_smoothing=label_smoothing(block),
            ),
            hardware=self.blueprint.hardware,
            seed=self.blueprint.seed,
        )

    def _encode(self, images: Array) -> dict[str, Array]:
        """`features` float32 [B, views, F]."""
        network = self._network()
        with torch.inference_mode():
            features = torch.stack([network(view) for view in self._views(images)], dim=1)
        return {"features": features.float().cpu().numpy()}


def feature_size(name: str) -> int:
    """How many features the backbone gives."""
    if name == backbones.LITE:
        from seedbed_vision.lite import LiteBackbone

        return LiteBackbone.feature_size
    return int(backbones.build(name, pretrained=False).feature_size)  # type: ignore[arg-type]
