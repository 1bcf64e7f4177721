"""What one writes by hand for tiny grey pictures: a small convolutional network that is trained
from scratch with slight turns, shifts and zooms."""

from pathlib import Path

import common
import numpy as np
import optuna
import torch
import torch.nn.functional as F
from PIL import Image
from small_networks import Search, Settings
from torch import nn

torch.set_num_threads(2)
optuna.logging.set_verbosity(optuna.logging.ERROR)


def read(folder: Path) -> tuple[torch.Tensor, list[str]]:
    files, labels = common.class_folders(folder)
    pixels = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])
    return torch.from_numpy(pixels).float()[:, None] / 255 - 0.3, labels


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def build(settings: Settings, classes: int) -> nn.Sequential:
    width = settings["width"]
    return nn.Sequential(
        layer(1, width),
        layer(width, width),
        nn.MaxPool2d(2),
        layer(width, 2 * width),
        layer(2 * width, 2 * width),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(settings["dropout"]),
        nn.Linear(2 * width * 2 * 2, classes),
    )


def augment(settings: Settings):
    strength = settings["strength"]

    def moved(x: torch.Tensor) -> torch.Tensor:
        turn, zoom, across, down = (torch.randn(len(x)) * strength for _ in range(4))
        size = 1 + zoom
        rows = (
            torch.stack([size * turn.cos(), -size * turn.sin(), across], 1),
            torch.stack([size * turn.sin(), size * turn.cos(), down], 1),
        )
        grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    return moved


def suggest(trial: optuna.Trial) -> Settings:
    return {
        "width": trial.suggest_int("width", 16, 64, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "epochs": trial.suggest_int("epochs", 5, 60, log=True),
        "rate": trial.suggest_float("rate", 1e-3, 2e-2, log=True),
        "decay": trial.suggest_float("decay", 1e-4, 0.3, log=True),
        "smoothing": trial.suggest_float("smoothing", 0.0, 0.1),
        "strength": trial.suggest_float("strength", 0.0, 0.2),
    }


FIRST = {
    "width": 32,
    "dropout": 0.2,
    "epochs": 15,
    "rate": 5e-3,
    "decay": 0.01,
    "smoothing": 0.05,
    "strength": 0.08,
}
common.start()
Search(read, build, augment, suggest, FIRST, batch=64).answer()
