"""The machine: memory, processors and accelerators, files, clock."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from seedbed_server.checkup.checks import Check, ok, problem, size, warning
from seedbed_server.executors.hardware import cpu_count
from seedbed_server.settings import Settings

FEW_FILES = 1024
LITTLE_BYTES = 10**9
AHEAD = timedelta(seconds=10)
_TIME = "%Y-%m-%d %H:%M:%S UTC"
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def check_memory(settings: Settings) -> Iterator[Check]:
    memory = psutil.virtual_memory()
    limit = container_limit()
    total = memory.total if limit is None else min(limit, memory.total)
    text = f"{size(memory.available)} of {size(memory.total)} are available"
    if limit is not None and limit < memory.total:
        text += f", and this container may use {size(limit)} in all"
    if memory.available < LITTLE_BYTES:
        yield warning("memory", text, "end other programs; trials run out of memory early")
    else:
        yield ok("memory", text)
    own = settings.memory_limit_bytes
    text = f"a job holds up to {size(own)} of data in memory, the rest in files"
    if own * settings.workers > total / 2:
        yield warning(
            "memory",
            f"{text}; with {settings.workers} at once that is more than half of {size(total)}",
            f"set SEEDBED_MEMORY_LIMIT_BYTES to {total // 4 // settings.workers} or less",
        )
    else:
        yield ok("memory", text)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < FEW_FILES:
        yield warning(
            "files", f"a process may open {files} files", f"raise it to {FEW_FILES} with ulimit -n"
        )


def container_limit() -> int | None:
    """Bytes of memory that the control group allows; None where it says nothing."""
    for path in _LIMITS:
        if path.exists():
            text = path.read_text().strip()
            return int(text) if text.isdecimal() else None
    return None


def check_accelerators(settings: Settings, found: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """`found` has each accelerator's `name`, `total_bytes` and `free_bytes`."""
    cores = f"{cpu_count()} processor cores"
    wanted = [] if settings.devices in ("auto", "cpu") else settings.devices.split(",")
    here = [f"cuda:{index}" for index in range(len(found))]
    for device in (device for device in wanted if device not in here):
        yield problem(
            "accelerators",
            f"{device} is to be used and is not there; there is {', '.join(here) or 'none'}",
            "pass --devices auto, or see to its driver",
        )
    for device, card in zip(here, found, strict=True):
        unused = settings.devices != "auto" and device not in wanted
        text = (
            f"{device} is {card['name']}, {size(card['free_bytes'])} of "
            f"{size(card['total_bytes'])} free{', and is not used' if unused else ''}"
        )
        yield ok("accelerators", text)
    if not found and not wanted:
        if settings.devices == "auto" and Path("/dev/nvidia0").exists():
            yield warning(
                "accelerators",
                f"there is an NVIDIA card that torch cannot use; jobs run on {cores}",
                "install a driver that is new enough for the installed torch",
            )
        else:
            yield ok("accelerators", f"none; jobs run on {cores}")


def check_clock(time: datetime, newest: datetime | None) -> Iterator[Check]:
    """`newest` is the newest time that was written down."""
    if newest is not None and newest > time + AHEAD:
        yield warning(
            "clock",
            f"the server's clock is at {time:{_TIME}}, and a job was last written at "
            f"{newest:{_TIME}}",
            "set it right, by NTP; times and the durations of jobs are wrong until then",
        )
    else:
        yield ok("clock", f"{time:{_TIME}}, after all that was written")
