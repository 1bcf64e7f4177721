"""The conformance suite over tables with several targets."""

from __future__ import annotations

from sklearn.datasets import load_iris

from seedbed_sdk.dataset import Dataset
from seedbed_sdk.testing import task_contract


def iris() -> Dataset:
    """A class and a length, to be predicted from three other measures."""
    return Dataset.from_frame(load_iris(as_frame=True).frame)


TestTabularSeveralTargets = task_contract(
    "tabular", iris, target="target,petal length (cm)", parameters={"epochs": 10}
)
