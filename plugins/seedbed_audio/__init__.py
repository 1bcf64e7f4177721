"""Sounds: classifies them by their log-mel spectrograms, with a linear or kernel model of their
statistics or a convolutional network; the networks for pictures may be used too."""

from collections.abc import Callable
from typing import Any

from seedbed_audio.catalogue import architectures
from seedbed_audio.task import AudioClassification
from seedbed_sdk.hookspecs import hookimpl
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture


@hookimpl
def register_tasks(register: Callable[[Task[Any]], None]) -> None:
    register(AudioClassification())


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    for architecture in architectures():
        register(architecture)
