"""Pictures: classes, several labels, numbers, and a class for every pixel.

With a frozen backbone and a head, by fine-tuning the whole network, or with a small network from
scratch where pictures are tiny. The tasks are in `task` and `segment_task`, the architectures with
their search spaces in `catalogue` and `segment_catalogue`.
"""

from collections.abc import Callable
from typing import Any

from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture
from seedbed_vision import catalogue, segment_catalogue
from seedbed_vision.segment_task import Segmentation
from seedbed_vision.task import ImageClassification, ImageMultilabel, ImageRegression


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    for task in (ImageClassification(), ImageMultilabel(), ImageRegression(), Segmentation()):
        register(task)


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in (*catalogue.architectures(), *segment_catalogue.architectures()):
        register(architecture)
