"""What the models that are no networks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seedbed_sdk.blocks.base import Array

FILE = "model.safetensors"


class Tensors:
    """Saves and loads a model that is nothing but arrays by name."""

    tensors: dict[str, Array]

    def save(self, folder: Path) -> None:
        """Writes the arrays as safetensors."""
        from safetensors.numpy import save_file

        save_file({k: np.ascontiguousarray(v) for k, v in self.tensors.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""
        from safetensors.numpy import load_file

        self.tensors = load_file(folder / FILE)
