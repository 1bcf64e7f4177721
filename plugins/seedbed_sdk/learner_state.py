"""A learner's whole state on disk, as safetensors and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from seedbed_sdk.learner import Learner

TENSORS = "checkpoint.safetensors"
COUNTERS = "checkpoint.json"
COUNTED = ("epoch", "step", "samples", "total_steps", "epochs_since_best", "micro_batch")


def save(learner: Learner, folder: Path) -> None:
    """Writes two files into an existing folder."""
    paused = learner._paused_state
    tensors: dict[str, torch.Tensor] = {
        "random.batches": learner.generator.get_state(),
        "random.global": torch.get_rng_state(),
    }
    if paused is not None and learner._global_rng is not None:
        tensors["random.global"] = learner._global_rng
    if learner.device.type == "cuda":
        tensors["random.device"] = torch.cuda.get_rng_state(learner.device)
    _put(tensors, "network", learner.network.state_dict() if paused is None else paused)
    if learner.averaged is not None:
        _put(tensors, "averaged", learner.averaged.state_dict())
    if learner.best_state is not None:
        _put(tensors, "best", learner.best_state)
    for index, state in learner.optimizer.state_dict()["state"].items():
        _put(tensors, f"optimizer.{index}", state)
    save_file({name: t.contiguous().cpu().clone() for name, t in tensors.items()}, folder / TENSORS)
    counters = {name: getattr(learner, name) for name in COUNTED}
    (folder / COUNTERS).write_text(json.dumps(counters))


def load(learner: Learner, folder: Path) -> None:
    """Reads what `save` wrote, into a learner made with the same arguments."""
    tensors = load_file(folder / TENSORS)
    for name, value in json.loads((folder / COUNTERS).read_text()).items():
        setattr(learner, name, value)
    learner.generator.set_state(tensors["random.batches"])
    learner._global_rng = tensors["random.global"]
    if "random.device" in tensors:
        torch.cuda.set_rng_state(tensors["random.device"], learner.device)
    learner.network.load_state_dict(_get(tensors, "network"))
    if learner.averaged is not None:
        learner.averaged.load_state_dict(_get(tensors, "averaged"))
    learner.best_state = {k: v.to(learner.device) for k, v in _get(tensors, "best").items()} or None
    optimizer = learner.optimizer.state_dict()
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _get(tensors, "optimizer").items():
        index, key = name.split(".", 1)
        states.setdefault(int(index), {})[key] = tensor
    learner.optimizer.load_state_dict({**optimizer, "state": states})


def _put(tensors: dict[str, torch.Tensor], prefix: str, state: dict[str, Any]) -> None:
    tensors.update({f"{prefix}.{name}": tensor for name, tensor in state.items()})


def _get(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    start = prefix + "."
    return {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
