"""Pictures: classifies them with a frozen backbone and a head, by fine-tuning the whole network, or
with a small network from scratch where pictures are tiny.

The task is in `task`, the architectures with their search spaces in `catalogue`.
"""

from collections.abc import Callable
from typing import Any

from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture
from seedbed_vision.catalogue import architectures
from seedbed_vision.task import ImageClassification


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    register(ImageClassification())


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in architectures():
        register(architecture)
