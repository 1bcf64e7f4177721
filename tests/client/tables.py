"""Small tables that are quick to learn."""

from __future__ import annotations

import random
from pathlib import Path


def write_table(path: Path, rows: int = 300, seed: int = 0) -> Path:
    """Columns `size` and `colour`, and a `label` that follows from them but for some noise."""
    rng = random.Random(seed)
    lines = ["size,colour,label"]
    for _ in range(rows):
        size, colour = rng.gauss(0, 1), rng.choice(["red", "green"])
        sign = size + (1 if colour == "red" else -1) + rng.gauss(0, 0.3)
        lines.append(f"{size:.4f},{colour},{'yes' if sign > 0 else 'no'}")
    path.write_text("\n".join(lines) + "\n")
    return path
