"""Why a trial failed, as a person would say it, and whether its process can go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.out_of_memory import is_out_of_memory
from seedbed_sdk.trainer import Diverged, Hardware, Interrupted, UnusableOutputs
from seedbed_server.executors.memory import give_back_freed_memory
from seedbed_server.jobs.values import OUT_OF_MEMORY

CUT_SHORT = "interrupted: "
"""How the reason of a trial begins that had no time to finish anything."""
DIVERGED = "diverged: "
CRASHED = "crashed: "
# How CUDA, its libraries and the driver begin what they say when the device no longer answers.
_DEVICE_ERRORS = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS", "NCCL error")
# What comes before is for torch's own developers.
_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory: "
LONGEST_REASON = 400
# Kept from trials for the rows and files that are written afterwards.
SPARE_DESCRIPTORS = 64
_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Fault:
    """`reason` is for the trial; `spoils` says what is wrong with the process since, if it is."""

    reason: str
    spoils: str = ""


NO_FAULT = Fault("")


def fault_of(error: BaseException, hardware: Hardware) -> Fault:
    """What an exception from a trainer means."""
    if isinstance(error, Diverged):
        return Fault(f"{DIVERGED}{error}")
    if isinstance(error, Interrupted):
        return Fault(f"{CUT_SHORT}{error}")
    if isinstance(error, UnusableOutputs):
        return Fault(_short(f"the outputs cannot be used: {error}"))
    if is_out_of_memory(error):
        place = f" on {hardware.device}" if hardware.accelerated else ""
        said = str(error).partition("\n")[0].rpartition(_ALLOCATOR)[2]
        return Fault(_short(f"{OUT_OF_MEMORY}{place}" + (said and f": {said}")))
    if _is_device_error(error, hardware):
        first = str(error).partition("\n")[0]
        reason = _short(f"the accelerator {hardware.device} failed: {first}")
        return Fault(reason, f"the accelerator {hardware.device} failed")
    if isinstance(error, SystemExit):
        return Fault(f"{CRASHED}the model's code called sys.exit({error.code!r})")
    return Fault(_short(f"{CRASHED}{type(error).__name__}: {error}"))


def unusable_device(device: str) -> str:
    """Why tensors cannot be computed with on a torch device; empty where they can."""
    import torch

    try:
        found = (torch.ones(2, device=device) + 1.0).sum().item()
    except (RuntimeError, AssertionError) as error:
        return _short(str(error).splitlines()[0])
    return "" if found == 4.0 else f"1 + 1 + 1 + 1 is {found:g} there"


@contextmanager
def spare_descriptors() -> Iterator[None]:
    """Lets the block open fewer files than the process may, so that some are left afterwards."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft // 2, soft - SPARE_DESCRIPTORS), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def too_many_files() -> str:
    """What is wrong where trials have left most of the files open that the process may open; empty
    otherwise."""
    import resource

    if not _DESCRIPTORS.is_dir():
        return ""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = sum(1 for _ in _DESCRIPTORS.iterdir())
    return f"{count} of at most {limit} files were left open" if count > limit / 2 else ""


def is_for_the_job(error: BaseException) -> bool:
    """Whether an error out of a trial is none of the model's: the job was given to another worker,
    or the disk is full."""
    return isinstance(error, SeedbedError) and error.code in ("ABORTED", "RESOURCE_EXHAUSTED")


def after_out_of_memory() -> None:
    """Returns to the system what the trial held."""
    import gc

    import torch

    gc.collect()
    give_back_freed_memory()
    # Does nothing where the process has not used an accelerator.
    torch.cuda.empty_cache()


def _is_device_error(error: BaseException, hardware: Hardware) -> bool:
    import torch

    if isinstance(error, torch.AcceleratorError):
        return True
    said = isinstance(error, RuntimeError) and any(s in str(error) for s in _DEVICE_ERRORS)
    return said and hardware.accelerated


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"
