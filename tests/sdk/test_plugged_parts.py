"""Types of data, metrics and readers that a plugin brings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.blocks import CategoryBlock, MultiCategoryBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.registry import GROUP, Registry, load

PLUGIN = '''
import numpy as np
import pandas as pd

from seedbed_sdk import hookimpl
from seedbed_sdk.blocks import Encoded, Field, InputBlock
from seedbed_sdk.metrics import Metric
from seedbed_sdk.readers import Reader

class LengthBlock(InputBlock):
    """How long a text is, as a picture's type of input for the test's sake."""

    type = "length"
    becomes = "image"

    def __init__(self, column):
        self.column = column

    @property
    def columns(self):
        return (self.column,)

    def fields(self):
        return (Field(self.column, "text"),)

    def fit(self, items):
        pass

    def encode(self, items):
        return Encoded({"length": items[self.column].str.len().to_numpy()})

    def state(self):
        return {"column": self.column}

    @classmethod
    def from_state(cls, state):
        return cls(state["column"])

@hookimpl
def register_blocks(register):
    register(LengthBlock)

@hookimpl
def register_metrics(register):
    zero_one = lambda targets, outputs: float(np.mean(outputs.argmax(axis=1) != targets))
    register(Metric("zero_one_loss", False, ("category",), zero_one))

@hookimpl
def register_readers(register):
    register(Reader(lambda path: pd.DataFrame({"a": [1]}), suffixes=(".odd",)))
'''


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    (tmp_path / "plugged_parts.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield load([EntryPoint("plugged_parts", "plugged_parts", GROUP)])
    sys.modules.pop("plugged_parts", None)


def test_a_plugin_s_type_of_data_is_in_bundles(registry: Registry) -> None:
    assert not registry.problems
    block = registry.blocks["length"]("words")  # type: ignore[call-arg]
    kept = json.dumps(DataBlock([block], CategoryBlock("y", ("a", "b"))).state())  # type: ignore[list-item]
    again = DataBlock.from_state(json.loads(kept), registry.blocks)
    arrays, problems = again.encode_examples(pd.DataFrame({"words": ["one", "three"]}))
    assert arrays["length"].tolist() == [3, 5]
    assert not problems
    with pytest.raises(InvalidArgument, match="'length'; this version knows tabular, image"):
        DataBlock.from_state(json.loads(kept))


def test_what_a_block_becomes_brings_architectures(registry: Registry) -> None:
    registry.architectures = load().architectures
    block = DataBlock([registry.blocks["length"]("words")], CategoryBlock("y"))  # type: ignore[call-arg, list-item]
    names = {architecture.name for architecture in registry.available(block)}
    assert "small_convnet" in names
    assert "linear" not in names


def test_a_plugin_s_metric_measures_targets_of_its_types(registry: Registry) -> None:
    names = [metric.name for metric in registry.metrics_of(CategoryBlock)]
    assert names[0] == "accuracy"
    assert names[-1] == "zero_one_loss"
    assert "zero_one_loss" not in [m.name for m in registry.metrics_of(MultiCategoryBlock)]
    outputs = np.array([[0.9, 0.1], [0.8, 0.2]])
    assert registry.metrics["zero_one_loss"].compute(np.array([0, 1]), outputs) == 0.5


def test_a_plugin_s_reader_is_found_by_its_ending(registry: Registry) -> None:
    assert registry.readers[".odd"].read("x.odd").to_dict("list") == {"a": [1]}
