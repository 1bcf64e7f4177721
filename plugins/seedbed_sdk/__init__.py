"""What a plugin is made of: hooks, tasks, blocks of data, architectures and the training loop.

A plugin imports this package and nothing of the server. Names are loaded when they are first used,
so that a process which needs only `seedbed_sdk.errors` loads no pandas and no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedbed_sdk.blocks import (
        CategoryBlock,
        ImageBlock,
        MultiCategoryBlock,
        RegressionBlock,
        TabularBlock,
    )
    from seedbed_sdk.datablock import DataBlock
    from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
    from seedbed_sdk.errors import FieldViolation, InvalidArgument, SeedbedError
    from seedbed_sdk.hookspecs import hookimpl
    from seedbed_sdk.learner import Learner, LearnerConfig
    from seedbed_sdk.space import Choices, FloatRange, IntRange
    from seedbed_sdk.splitters import RandomSplitter, Splitter, choose_splitter
    from seedbed_sdk.task import Task, TaskOptions
    from seedbed_sdk.trainer import (
        Architecture,
        Blueprint,
        Data,
        EpochReport,
        Hardware,
        Run,
        Trainer,
    )

_HOMES = {
    "blocks": (
        "CategoryBlock",
        "ImageBlock",
        "MultiCategoryBlock",
        "RegressionBlock",
        "TabularBlock",
    ),
    "datablock": ("DataBlock",),
    "dataset": ("DataSplit", "Dataset", "FileRef"),
    "errors": ("FieldViolation", "InvalidArgument", "SeedbedError"),
    "hookspecs": ("hookimpl",),
    "learner": ("Learner", "LearnerConfig"),
    "space": ("Choices", "FloatRange", "IntRange"),
    "splitters": ("RandomSplitter", "Splitter", "choose_splitter"),
    "task": ("Task", "TaskOptions"),
    "trainer": (
        "Architecture",
        "Blueprint",
        "Data",
        "EpochReport",
        "Hardware",
        "Run",
        "Trainer",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Architecture",
    "Blueprint",
    "CategoryBlock",
    "Choices",
    "Data",
    "DataBlock",
    "DataSplit",
    "Dataset",
    "EpochReport",
    "FieldViolation",
    "FileRef",
    "FloatRange",
    "Hardware",
    "ImageBlock",
    "IntRange",
    "InvalidArgument",
    "Learner",
    "LearnerConfig",
    "MultiCategoryBlock",
    "RandomSplitter",
    "RegressionBlock",
    "Run",
    "SeedbedError",
    "Splitter",
    "TabularBlock",
    "Task",
    "TaskOptions",
    "Trainer",
    "choose_splitter",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
