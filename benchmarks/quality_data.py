"""The data sets of the benchmark `quality`, each with how seedbed is called and who its peers are.

All sides get the same files: `train`, which they may divide as they like, and `test`, whose labels
serve for the final score alone. Archives are unpacked before any clock runs.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TEST_SHARE = 0.2
LOWER_IS_BETTER = ("rmse",)
VOID = 11

Files = tuple[Path, Path]
"""Training and test data: files, or folders."""


@dataclass(frozen=True)
class DataSet:
    """A data set: its files are made by `write` in a folder.

    `peers` are the scripts in `peers/` that can do the task, each named by its environment, `_` and
    what it works on. `options` are seedbed's for the task, and `tables` its side tables by role.
    `known` is what a person who looks at the data knows and writes into a script.
    """

    name: str
    task: str
    metric: str
    peers: tuple[str, ...]
    write: Callable[[Path], Files]
    target: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Path] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is a better one."""
        return self.metric not in LOWER_IS_BETTER


def _shared(train: str, test: str) -> Callable[[Path], Files]:
    return lambda folder: (SHARED / train, SHARED / test)  # noqa: ARG005


def _archive(name: str) -> Callable[[Path], Files]:
    """Unpacks an archive of folders `train` and `test`."""

    def write(folder: Path) -> Files:
        with zipfile.ZipFile(SHARED / name) as archive:
            archive.extractall(folder)
        return folder / "train", folder / "test"

    return write


def _bundled_parts(loader: str) -> list[Any]:
    """The rows for training and for the test of one of scikit-learn's own data sets, drawn at
    random but always alike."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    frame = getattr(datasets, loader)(as_frame=True).frame
    kinds = frame["target"] if frame["target"].nunique() <= 20 else None
    parts: list[Any] = train_test_split(frame, test_size=TEST_SHARE, random_state=0, stratify=kinds)
    return parts


def _bundled(loader: str, folder: Path) -> Files:
    paths = folder / "train.csv", folder / "test.csv"
    for part, path in zip(_bundled_parts(loader), paths, strict=True):
        part.to_csv(path, index=False)
    return paths


def _digit_pictures(folder: Path) -> Files:
    """The handwritten digits as grey PNG files of 8x8 pixels, in a folder for each digit."""
    from PIL import Image

    paths = folder / "train", folder / "test"
    for part, path in zip(_bundled_parts("load_digits"), paths, strict=True):
        pixels = part.drop(columns="target").to_numpy().reshape(-1, 8, 8) * (255 / 16)
        for row, picture, digit in zip(part.index, pixels, part["target"], strict=True):
            file = path / str(digit) / f"{row:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype("uint8")).save(file)
    return paths


TABLES = ("autogluon_tables", "flaml_tables", "fastai_tables", "optuna_tables")
MOVIES = {"items": SHARED / "movielens-movies.csv"}
_movielens = partial(
    DataSet,
    task="collaborative_filtering",
    target="rating",
    write=_shared("movielens-train.csv", "movielens-test.csv"),
    tables=MOVIES,
)
DATA = (
    DataSet(
        "adult",
        "tabular",
        "accuracy",
        TABLES,
        _shared("adult-train.csv", "adult-test.csv"),
        target="income",
    ),
    *(
        DataSet(
            name,
            "tabular",
            "r2" if name == "diabetes" else "accuracy",
            TABLES,
            partial(_bundled, f"load_{name}"),
            target="target",
        )
        for name in ("breast_cancer", "digits", "wine", "diabetes")
    ),
    DataSet(
        "cifar10-2k",
        "image_classification",
        "accuracy",
        ("fastai_pictures", "optuna_pictures"),
        _archive("cifar10-2k.zip"),
        known={"flip": True, "sizes": [64, 96, 128]},
    ),
    DataSet(
        "digit pictures",
        "image_classification",
        "accuracy",
        ("fastai_pictures", "optuna_small_pictures"),
        _digit_pictures,
        known={"flip": False, "sizes": [48, 64]},
    ),
    DataSet(
        "spoken-digits",
        "audio_classification",
        "accuracy",
        ("optuna_sounds",),
        _archive("spoken-digits.zip"),
    ),
    DataSet(
        "camvid",
        "segmentation",
        "mean_iou",
        ("fastai_masks", "optuna_masks"),
        _archive("camvid-240x180.zip"),
        options={"void": VOID},
        known={"void": VOID},
    ),
    DataSet(
        "sms",
        "text_classification",
        "macro_f1",
        ("autogluon_tables", "fastai_text", "optuna_text"),
        _shared("sms-train.csv", "sms-test.csv"),
        target="label",
    ),
    _movielens("movielens", metric="rmse", peers=("fastai_ratings", "optuna_ratings")),
    _movielens("movielens rankings", metric="recall_at_10", peers=("optuna_rankings",)),
)
