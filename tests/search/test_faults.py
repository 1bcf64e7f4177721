"""What is said of the errors of trials."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from seedbed_sdk.errors import ResourceExhausted
from seedbed_sdk.trainer import Diverged, Hardware, Interrupted, UnusableOutputs
from seedbed_server.errors import LeaseLost
from seedbed_server.search.faults import (
    fault_of,
    is_for_the_job,
    spare_descriptors,
    too_many_files,
    unusable_device,
)
from tests.conftest import child_environment

CPU, GPU = Hardware(), Hardware("cuda:1")


def raised_by(call: object) -> BaseException:
    with pytest.raises(BaseException) as caught:
        call()  # type: ignore[operator]
    return caught.value


@pytest.mark.parametrize(
    ("error", "hardware", "reason"),
    [
        (Diverged("the loss became nan"), CPU, "diverged: the loss became nan"),
        (Interrupted("too slow"), CPU, "interrupted: too slow"),
        (UnusableOutputs("they are list"), CPU, "the outputs cannot be used: they are list"),
        (MemoryError(), CPU, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), GPU, "out of memory on cuda:1: CUDA out"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when"), GPU, "out of memory on cuda:1: CUBLAS"),
        (raised_by(lambda: np.empty(2**55)), CPU, "out of memory: Unable to allocate 256. PiB"),
        (raised_by(lambda: torch.empty(2**55)), CPU, "out of memory: you tried to allocate"),
        (SystemExit(2), CPU, "crashed: the model's code called sys.exit(2)"),
        (KeyboardInterrupt(), CPU, "crashed: KeyboardInterrupt"),
        (ValueError("bad"), GPU, "crashed: ValueError: bad"),
        (RuntimeError("CUDA error: from a message"), CPU, "crashed: RuntimeError: CUDA error"),
    ],
    ids=str,
)
def test_a_reason_is_given_and_the_process_goes_on(
    error: BaseException, hardware: Hardware, reason: str
) -> None:
    fault = fault_of(error, hardware)
    assert fault.reason.startswith(reason)
    assert fault.spoils == ""


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ..."),
        RuntimeError("CUDA error: uncorrectable ECC error encountered\nCompile with ..."),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
    ids=str,
)
def test_an_accelerator_that_fails_spoils_the_process(error: Exception) -> None:
    fault = fault_of(error, GPU)
    assert fault.reason == f"the accelerator cuda:1 failed: {str(error).splitlines()[0]}"
    assert fault.spoils == "the accelerator cuda:1 failed"


def test_a_long_text_is_shortened() -> None:
    reason = fault_of(ValueError("x" * 10_000), CPU).reason
    assert len(reason) == 400 and reason.endswith("x…")


def test_what_is_no_fault_of_the_model_is_for_the_job() -> None:
    assert is_for_the_job(LeaseLost("job", 1, "the job is CANCELLED"))
    assert is_for_the_job(ResourceExhausted("the disk is full"))
    assert not is_for_the_job(MemoryError())
    assert not is_for_the_job(SystemExit())


def test_a_device_is_tried() -> None:
    assert unusable_device("cpu") == ""
    assert "\n" not in unusable_device("cuda:77")
    assert unusable_device("cuda:77") != ""


def test_some_files_can_be_opened_after_a_trial_that_left_all_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
    leaked = []
    try:
        assert too_many_files() == ""
        with pytest.raises(OSError, match="Too many open files"), spare_descriptors():
            while True:
                leaked.append(os.open(os.devnull, os.O_RDONLY))
        os.close(os.open(os.devnull, os.O_RDONLY))
        assert too_many_files().endswith("of at most 400 files were left open")
    finally:
        for number in leaked:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


ALLOCATE = """
import numpy, psutil
from seedbed_server.executors.memory import limit_memory_to_available
limit_memory_to_available()
total = psutil.virtual_memory().total
kept = numpy.empty(total // 50, dtype=numpy.uint8)
try:
    numpy.empty(2 * total, dtype=numpy.uint8)
except MemoryError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what is allocated")
def test_a_worker_cannot_allocate_more_than_the_machine_has() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=child_environment(),
    )
    assert done.stdout.startswith("refused: Unable to allocate")
