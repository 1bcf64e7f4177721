"""Tables: predicts a column from the others, with a linear model, boosted trees and a network.

The task and its options are in `task`, the kinds of models with their search spaces in `catalogue`.
"""

from collections.abc import Callable
from typing import Any

from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture
from seedbed_tabular.catalogue import ARCHITECTURES
from seedbed_tabular.task import TabularTask


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    register(TabularTask())


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in ARCHITECTURES:
        register(architecture)
