"""Classifies a row by a vote of the rows most similar to it: a whole task in forty lines."""

import numpy as np
from safetensors.numpy import load_file, save_file

from seedbed_sdk import (
    Architecture,
    CategoryBlock,
    DataBlock,
    EpochReport,
    IntRange,
    TabularBlock,
    Task,
    TaskOptions,
    hookimpl,
)


class NeighboursTask(Task[TaskOptions]):
    name, title = "neighbours", "Nearest neighbours"
    description = "Predicts a category from a table's numbers by the most similar rows."
    options, input_types, target_types = TaskOptions, ("tabular",), ("category",)

    def data_block(self, dataset, target, options):
        items = {split: data.table for split, data in dataset.splits.items()}
        target = target or items["train"].columns[-1]
        columns = {c: "numeric" for c in items["train"].select_dtypes("number") if c != target}
        return DataBlock([TabularBlock(columns)], CategoryBlock(target), items)

    def architectures(self, block, hardware, available):
        return [architecture for architecture in available if architecture.name == "neighbours"]


class Neighbours:
    def __init__(self, blueprint):
        self.count = blueprint.parameters["count"]
        self.classes = blueprint.block.target.output_size

    def fit(self, data, run):
        rows = data.train.inputs["numeric"]
        self.state = {"mean": np.nanmean(rows, 0), "scale": np.nanstd(rows, 0) + 1e-9}
        self.state |= {"rows": self.scaled(rows), "labels": data.train.target}
        run.report(EpochReport(1, 1, self.predict(data.valid.inputs), len(data.train)))

    def scaled(self, rows):
        return np.nan_to_num((rows - self.state["mean"]) / self.state["scale"])

    def predict(self, inputs):
        distances = [((self.state["rows"] - r) ** 2).sum(1) for r in self.scaled(inputs["numeric"])]
        nearest = [self.state["labels"][np.argsort(d)[: self.count]] for d in distances]
        return np.array([np.bincount(n, minlength=self.classes) / len(n) for n in nearest])

    def save(self, folder):
        save_file(self.state, folder / "neighbours.safetensors")

    def load(self, folder):
        self.state = load_file(folder / "neighbours.safetensors")


@hookimpl
def register_tasks(register):
    register(NeighboursTask())


@hookimpl
def register_architectures(register):
    space, defaults = {"count": IntRange(1, 50)}, ({"count": 5}, {"count": 15})
    types = (("tabular",), ("category",))
    register(
        Architecture("neighbours", "A vote of similar rows.", *types, Neighbours, space, defaults)
    )
