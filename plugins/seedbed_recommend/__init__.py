"""Collaborative filtering: what a user will like, from what users and items had to do with each
other, with or without ratings.

The task and its options are in `task`, how columns are recognised in `columns`, the kinds of models
with their search spaces in `catalogue`.
"""

from collections.abc import Callable
from typing import Any

from seedbed_recommend.catalogue import ARCHITECTURES
from seedbed_recommend.task import CollaborativeFilteringTask
from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    register(CollaborativeFilteringTask())


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in ARCHITECTURES:
        register(architecture)
