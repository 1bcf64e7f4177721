"""The hooks a plugin may implement, in a module named by an entry point of the group `seedbed`.

Each hook is handed a `register` callback. Plugins import torch and other large libraries where they
are used, inside functions, unless they cannot do without.
"""

from collections.abc import Callable
from typing import Any, Protocol

import pluggy

from seedbed_sdk.dataset import Dataset
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
