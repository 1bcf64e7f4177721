"""What the machine has. Runs in a call process, since asking an accelerator loads its driver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def probe(payload: Mapping[str, Any]) -> dict[str, Any]:
    """`cpus`: processors that this process may use; `cuda`: NVIDIA devices that torch can use, 0
    where the payload's `accelerators` is false."""
    return {"cpus": cpu_count(), "cuda": _cuda_devices() if payload["accelerators"] else 0}


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _cuda_devices() -> int:
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
