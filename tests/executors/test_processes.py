"""Slots, exits, and that the preloaded libraries may be forked."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from seedbed_server.executors.dispatcher import Slot, make_slots
from seedbed_server.executors.processes import describe_exit
from tests.conftest import child_environment


@pytest.mark.parametrize(
    ("devices", "workers", "cpus", "cuda", "slots"),
    [
        ("auto", 1, 2, 0, [Slot("cpu", 2)]),
        ("auto", 2, 8, 0, [Slot("cpu", 4)] * 2),
        ("auto", 3, 2, 0, [Slot("cpu", 1)] * 3),
        ("auto", 1, 16, 2, [Slot("cuda:0", 8), Slot("cuda:1", 8)]),
        ("cpu", 1, 4, 2, [Slot("cpu", 4)]),
        ("cuda:1", 4, 4, 0, [Slot("cuda:1", 4)]),
    ],
)
def test_slots_divide_the_machine(
    devices: str, workers: int, cpus: int, cuda: int, slots: list[Slot]
) -> None:
    assert make_slots(devices, workers, cpus=cpus, cuda=cuda) == slots


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (-signal.SIGKILL, "killed by signal 9 (out of memory?)"),
        (-signal.SIGABRT, "killed by signal 6 (SIGABRT)"),
        (3, "exited with status 3"),
        (None, "it does not answer"),
    ],
)
def test_an_exit_is_told_in_words(status: int | None, text: str) -> None:
    assert describe_exit(status) == text


def test_preloading_starts_no_thread_and_no_accelerator() -> None:
    code = (
        "import seedbed_server.executors.preload, os, sys\n"
        "assert 'torch' in sys.modules and 'optuna' in sys.modules\n"
        "assert not sys.modules['torch'].cuda.is_initialized()\n"
        "assert 'grpc' not in sys.modules\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
