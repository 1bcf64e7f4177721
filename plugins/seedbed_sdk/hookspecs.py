"""The hooks a plugin may implement, in a module named by an entry point of the group `seedbed`.

Each hook is handed a `register` callback. Plugins import torch and other large libraries where they
are used, inside functions, unless they cannot do without.
"""

from collections.abc import Callable
from typing import Any, Protocol

import pluggy

from seedbed_sdk.blocks.base import Block
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.metrics import Metric
from seedbed_sdk.readers import Reader
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture

PROJECT = "seedbed"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class SampleLoader(Protocol):
    """Makes a small dataset that ships with a package, for `sample://NAME`."""

    def __call__(self) -> Dataset: ...


@hookspec
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    """Call `register` with each task; a name that is taken is refused."""


@hookspec
def register_architectures(register: Callable[[Architecture], None]) -> None:
    """Call `register` with each architecture; every task with data of its types may use it."""


@hookspec
def register_samples(register: Callable[[str, SampleLoader], None]) -> None:
    """Call `register` with the name of a sample dataset and the function that makes it."""


@hookspec
def register_blocks(register: Callable[[type[Block]], None]) -> None:
    """Call `register` with each class of InputBlock or TargetBlock that the plugin's data is made
    of and that the SDK does not have, so that bundles with them can be opened."""


@hookspec
def register_metrics(register: Callable[[Metric], None]) -> None:
    """Call `register` with each measure that the SDK does not have; jobs whose target is of one of
    its types may be chosen by it."""


@hookspec
def register_readers(register: Callable[[Reader], None]) -> None:
    """Call `register` with each Reader, which brings a scheme of URIs or a format of table files;
    those that the server reads itself stay as they are."""
