from sklearn.datasets import load_wine

from seedbed_sdk import Dataset
from seedbed_sdk.testing import task_contract

TestNeighbours = task_contract(
    "neighbours", lambda: Dataset.from_frame(load_wine(as_frame=True).frame), target="target"
)
