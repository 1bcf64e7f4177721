"""Time series: classifies them with random convolutions, networks over time, or networks for the
pictures that they are turned into."""

from collections.abc import Callable
from typing import Any

from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture
from seedbed_series.catalogue import architectures
from seedbed_series.task import TimeSeriesClassification


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    register(TimeSeriesClassification())


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in architectures():
        register(architecture)
