"""What one writes by hand for short sounds: log-mel bands, and a small network that is
convolutional along time, with shifts in time and masks over time and frequency."""

from pathlib import Path

import common
import numpy as np
import optuna
import soundfile
import torch
import torch.nn.functional as F
from small_networks import Search, Settings
from torch import nn

RATE, WINDOW, HOP, BANDS, FRAMES = 8_000, 256, 100, 40, 80
SHIFT = 6

optuna.logging.set_verbosity(optuna.logging.ERROR)


def mel_filters() -> torch.Tensor:
    """Triangles that are equally wide in mel [bands, frequencies]."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (60, RATE / 2))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    places = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    rising = (places - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - places) / (edges[2:] - edges[1:-1])[:, None]
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling))).float()


def read(folder: Path) -> tuple[torch.Tensor, list[str]]:
    """Log-mel bands [N, 1, bands, frames], each with mean 0 and deviation 1, the sound in the
    middle of the frames."""
    files, labels = common.class_folders(folder)
    filters, window = mel_filters(), torch.hann_window(WINDOW)
    pictures = []
    torch.set_num_threads(1)  # a single sound is too little for two
    for file in files:
        sound = torch.from_numpy(soundfile.read(file, dtype="float32")[0])
        spectrum = torch.stft(sound, WINDOW, HOP, window=window, return_complex=True).abs() ** 2
        x = (filters @ spectrum + 1e-6).log()
        x = ((x - x.mean()) / x.std())[:, :FRAMES]
        before = (FRAMES - x.shape[1]) // 2
        pictures.append(F.pad(x, (before, FRAMES - x.shape[1] - before), value=float(x.min())))
    torch.set_num_threads(2)
    return torch.stack(pictures)[:, None], labels


def layer(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, width, padding=width // 2, bias=False),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
    )


def build(settings: Settings, classes: int) -> nn.Sequential:
    """Along time, with the bands as channels: a third of the time of one along both."""
    width = settings["width"]
    return nn.Sequential(
        nn.Flatten(1, 2),
        layer(BANDS, width, 5),
        nn.MaxPool1d(2),
        layer(width, width, 3),
        nn.MaxPool1d(2),
        layer(width, 2 * width, 3),
        nn.AdaptiveAvgPool1d(3),
        nn.Flatten(),
        nn.Dropout(settings["dropout"]),
        nn.Linear(6 * width, classes),
    )


def augment(settings: Settings):
    strength = settings["strength"]

    def masked(x: torch.Tensor) -> torch.Tensor:
        shifts = torch.randint(-SHIFT, SHIFT + 1, (len(x),)).tolist()
        x = torch.stack([p.roll(shift, 2) for p, shift in zip(x, shifts, strict=True)])
        for size, shape in ((BANDS, (-1, 1, BANDS, 1)), (FRAMES, (-1, 1, 1, FRAMES))):
            widths = torch.rand(len(x), 1) * strength * size
            starts = torch.rand(len(x), 1) * (size - widths)
            place = torch.arange(size)
            hidden = (place >= starts) & (place < starts + widths)
            x = x.masked_fill(hidden.view(shape), 0.0)
        return x

    return masked


def suggest(trial: optuna.Trial) -> Settings:
    return {
        "width": trial.suggest_int("width", 48, 256, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "epochs": trial.suggest_int("epochs", 5, 50, log=True),
        "rate": trial.suggest_float("rate", 1e-3, 2e-2, log=True),
        "decay": trial.suggest_float("decay", 1e-4, 0.3, log=True),
        "smoothing": trial.suggest_float("smoothing", 0.0, 0.1),
        "strength": trial.suggest_float("strength", 0.0, 0.4),
    }


FIRST = {
    "width": 96,
    "dropout": 0.2,
    "epochs": 10,
    "rate": 5e-3,
    "decay": 0.01,
    "smoothing": 0.05,
    "strength": 0.2,
}
common.start()
Search(read, build, augment, suggest, FIRST, batch=32).answer()
