"""The sample datasets that need no file: scikit-learn's, and those of plugins."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import pandas as pd

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.frames import closest

Loader = Callable[[], Dataset]


def load_sample(name: str, field: str, registered: Mapping[str, Loader]) -> Dataset:
    """A sample by name. Raises InvalidArgument with `field`, listing those there are."""
    loaders = {**registered, **BUILT_IN}
    if name not in loaders:
        raise InvalidArgument(
            field,
            f"there is no sample {name!r}; there are {', '.join(sorted(loaders))}"
            f"{closest(name, list(loaders))}",
            reason="UNKNOWN_SAMPLE",
        )
    return loaders[name]()


def _labelled(loader: str) -> Dataset:
    frame, bunch = _frame(loader)
    names = [str(name) for name in bunch.target_names]
    labels = bunch.target.map(dict(enumerate(names)))
    return Dataset.from_frame(frame.assign(target=labels), name=loader.removeprefix("load_"))


def _numeric(loader: str) -> Dataset:
    frame, bunch = _frame(loader)
    return Dataset.from_frame(frame.assign(target=bunch.target), name=loader.removeprefix("load_"))


def _frame(loader: str) -> tuple[pd.DataFrame, Any]:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, loader)(as_frame=True)
    return bunch.data, bunch


@cache
def _digits() -> Dataset:
    """1,797 handwritten digits of 8x8 grey pixels: as pictures in ten class folders, and as a table
    with a column for each pixel."""
    import sklearn.datasets

    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidArgument(
            "dataset.sources",
            "the sample 'digits' is made of pictures; install seedbed[vision] for it",
        ) from error
    bunch = sklearn.datasets.load_digits(as_frame=True)
    files = []
    for i, (pixels, digit) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        picture = io.BytesIO()
        Image.fromarray((pixels * (255 / 16)).astype("uint8")).save(picture, "PNG")
        files.append(FileRef(f"{digit}/{i:04}.png", partial(bytes, picture.getvalue())))
    files.sort(key=lambda file: file.name)
    split = DataSplit(bunch.frame, tuple(files))
    return Dataset({"train": split}, "class_folders", "digits", "image")


BUILT_IN: Mapping[str, Loader] = {
    "breast_cancer": partial(_labelled, "load_breast_cancer"),
    "wine": partial(_labelled, "load_wine"),
    "diabetes": partial(_numeric, "load_diabetes"),
    "digits": _digits,
}
