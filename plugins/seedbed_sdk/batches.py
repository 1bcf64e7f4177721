"""The items of a split as tensors, on the device or batch by batch."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.mapped import is_mapped, release, size_of
from seedbed_sdk.trainer import SplitArrays

Batch = dict[str, torch.Tensor]
SHARE_OF_DEVICE = 0.5
# Where a page is read, the kernel may map as much of the file as it holds in one piece.
PAGES_AROUND = 2 * 2**20
RELEASE_BYTES = 256 * 2**20


class BatchSource:
    """Hands out batches on a device. An accelerator is given the whole split once where that takes
    at most half of its free memory. `place` is where the items lie, for numbers of rows to lie
    there too."""

    def __init__(self, split: SplitArrays, device: torch.device) -> None:
        arrays = {**split.inputs, "": split.target}
        self._device = device
        self._mapped = [array for array in arrays.values() if is_mapped(array)]
        self._touched_per_row = sum(
            array.nbytes // max(len(array), 1) + PAGES_AROUND for array in self._mapped
        )
        self._touched = 0
        self.place = device if _fits(size_of(arrays), device) else torch.device("cpu")
        self._inputs = {name: tensor_of(a).to(self.place) for name, a in split.inputs.items()}
        self._target = tensor_of(split.target).to(self.place)

    def __len__(self) -> int:
        return len(self._target)

    def take(self, rows: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        """Inputs and target of some rows."""
        batch = {n: t.index_select(0, rows).to(self._device) for n, t in self._inputs.items()}
        target = self._target.index_select(0, rows).to(self._device)
        self._touched += self._touched_per_row * len(rows)
        if self._touched > RELEASE_BYTES:
            self._touched = 0
            for array in self._mapped:
                release(array)
        return batch, target


def tensor_of(array: Array) -> torch.Tensor:
    """A tensor over the same memory, also where that may only be read."""
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        # It says that a read-only array must not be written to, which nobody does.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def tensor_of_rows(array: Array, part: slice, device: torch.device) -> torch.Tensor:
    """Some rows that lie behind each other, on a device."""
    rows = tensor_of(np.ascontiguousarray(array[part]))
    if not is_mapped(array):
        return rows.to(device)
    copied = rows.to(device, copy=True)
    release(array)
    return copied


def _fits(size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= SHARE_OF_DEVICE * free
