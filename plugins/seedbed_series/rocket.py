"""Features of series by rule: the values themselves, and random convolutions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.series_images import bin_means

BIASES = "biases"
TAPS = 9
GOLDEN_RATIO = (5**0.5 + 1) / 2
KERNELS = tuple(itertools.combinations(range(TAPS), 3))
MAX_DILATIONS = 32
EXAMPLES = 32


@dataclass(frozen=True, slots=True)
class RawValues:
    """The values of a series, averaged over `pooled` neighbours: `series` [N, C, L] to
    [N, C * (L / pooled)]. Learns nothing."""

    pooled: int

    def fit(self, inputs: Arrays, seed: int) -> None:
        """Nothing to learn."""

    def features(self, inputs: Arrays) -> Array:
        series = inputs["series"]
        means = bin_means(series, max(1, series.shape[2] // self.pooled))
        return means.reshape(len(series), -1).astype(np.float32)

    def tensors(self) -> dict[str, Array]:
        return {}

    def restore(self, tensors: Arrays) -> None:
        """Nothing was learned."""


@dataclass
class MiniRocket:
    """MiniRocket (Dempster, Schmidt & Webb 2021): 84 fixed kernels of nine taps at several
    dilations; a feature is the share of the time at which a kernel's output exceeds a threshold.

    `series` float32 [N, channels, length] to float32 [N, about `count`]. Thresholds are quantiles
    of the outputs on training series. Of several channels every kernel sees the sum of a random
    few.
    """

    channels: int
    length: int
    count: int
    seed: int
    biases: Array = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def __post_init__(self) -> None:
        each = max(1, self.count // len(KERNELS))
        reach = max(0.0, np.log2(max(1.0, (self.length - 1) / (TAPS - 1))))
        powers = np.linspace(0.0, reach, min(each, MAX_DILATIONS))
        dilations, repeats = np.unique((2.0**powers).astype(np.int64), return_counts=True)
        shares = repeats * each // repeats.sum()
        shares[0] += each - shares.sum()
        self.dilations = [
            (int(dilation), int(thresholds))
            for dilation, thresholds in zip(dilations, shares, strict=True)
            if thresholds
        ]
        kernels = np.full((len(KERNELS), TAPS), -1.0, dtype=np.float32)
        for row, places in zip(kernels, KERNELS, strict=True):
            row[list(places)] = 2.0
        random = np.random.default_rng(self.seed)
        self.weights = []
        for _ in self.dilations:
            heard = np.zeros((len(KERNELS), self.channels), dtype=np.float32)
            most = np.log2(min(self.channels, TAPS) + 1)
            for row in heard:
                some = int(2 ** random.uniform(0.0, most))
                row[random.permutation(self.channels)[: max(1, some)]] = 1.0
            self.weights.append(torch.from_numpy(heard[:, :, None] * kernels[:, None, :]))

    def fit(self, inputs: Arrays, seed: int) -> None:
        """Sets the thresholds by a random few of the training series."""
        series = inputs["series"]
        rows = np.sort(np.random.default_rng(seed).permutation(len(series))[:EXAMPLES])
        few = torch.from_numpy(np.ascontiguousarray(series[rows]))
        found = []
        used = 0
        for weight, (dilation, thresholds) in zip(self.weights, self.dilations, strict=True):
            outputs = _convolved(few, weight, dilation).numpy()
            for kernel in range(len(KERNELS)):
                # Multiples of the golden ratio, modulo 1, spread evenly however many there are.
                order = np.arange(used + 1, used + thresholds + 1)
                used += thresholds
                quantiles = order * GOLDEN_RATIO % 1.0
                kept = outputs[:, kernel, _margin(kernel, dilation, self.length)]
                found.append(np.quantile(kept, quantiles))
        self.biases = np.concatenate(found).astype(np.float32)

    def features(self, inputs: Arrays) -> Array:
        series = torch.from_numpy(np.ascontiguousarray(inputs["series"]))
        biases = torch.from_numpy(self.biases)
        parts = []
        start = 0
        with torch.inference_mode():
            for weight, (dilation, thresholds) in zip(self.weights, self.dilations, strict=True):
                size = len(KERNELS) * thresholds
                own = biases[start : start + size].view(len(KERNELS), thresholds)
                start += size
                outputs = _convolved(series, weight, dilation)
                for parity in (0, 1):
                    kept = outputs[:, parity::2, _margin(parity, dilation, self.length)]
                    for threshold in own[parity::2].T:
                        parts.append((kept > threshold[:, None]).float().mean(2))
        return torch.cat(parts, dim=1).numpy()

    def tensors(self) -> dict[str, Array]:
        return {BIASES: self.biases}

    def restore(self, tensors: Arrays) -> None:
        self.biases = tensors[BIASES]


def _convolved(series: torch.Tensor, weight: torch.Tensor, dilation: int) -> torch.Tensor:
    """[N, C, L] to [N, kernels, L], zeros around the series."""
    return F.conv1d(series, weight, padding=dilation * (TAPS // 2), dilation=dilation)


def _margin(kernel: int, dilation: int, length: int) -> slice:
    """Every other kernel leaves out the places where it reaches over the ends."""
    reach = dilation * (TAPS // 2)
    return slice(reach, length - reach) if kernel % 2 and length > 2 * reach else slice(None)
