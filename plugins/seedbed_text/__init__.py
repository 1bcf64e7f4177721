"""Text: classes, labels and numbers from counts of words, from a light network, and from a
pretrained sentence encoder that is frozen or trained on.

The tasks are in `task`, the architectures with their search spaces in `catalogue`.
"""

from collections.abc import Callable
from typing import Any

from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture
from seedbed_text.catalogue import ARCHITECTURES
from seedbed_text.task import TextClassification, TextMultiLabel, TextRegression


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    register(TextClassification())
    register(TextMultiLabel())
    register(TextRegression())


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in ARCHITECTURES:
        register(architecture)
