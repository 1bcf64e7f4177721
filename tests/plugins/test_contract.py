"""The conformance suite over the built-in tasks."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.testing import task_contract


def digits() -> Dataset:
    """Handwritten zeros, ones and twos, as folders of PNG files."""
    data = load_digits(n_class=3)
    files = []
    for index in range(150):
        buffer = io.BytesIO()
        Image.fromarray((data.images[index] * 15).astype(np.uint8)).save(buffer, "PNG")
        files.append(FileRef(f"{data.target[index]}/{index}.png", lambda b=buffer: b.getvalue()))
    return Dataset({"train": DataSplit(files=tuple(files))}, "class_folders")


TestTabularClassification = task_contract(
    "tabular",
    lambda: Dataset.from_frame(load_breast_cancer(as_frame=True).frame),
    target="target",
    parameters={"epochs": 30},
)
TestTabularRegression = task_contract(
    "tabular", lambda: Dataset.from_frame(load_diabetes(as_frame=True).frame), target="target"
)
TestImageClassification = task_contract(
    "image_classification", digits, parameters={"epochs": 4, "resolution": 64}
)
