"""The Learner's training throughput, against a bare PyTorch loop with the same settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import Case, compare

NAME = "loop_overhead"
LIMIT = "required: at least 0.97"
SMALL = {"items": 4_096, "valid": 512, "batch": 64, "epochs": 20}
PICTURES = {"items": 256, "valid": 32, "batch": 32, "epochs": 2}
SIDE = 64


def run(rounds: int) -> Iterator[Case]:
    """One case for each network."""
    import torch

    torch.set_num_threads(1)
    yield _case("MLP 30-64-64-2, batch 64, one thread", _mlp, SMALL, rounds)
    torch.set_num_threads(2)
    name = f"EfficientNet-Lite0 at {SIDE} px, batch 32, two threads"
    yield _case(name, _lite, PICTURES, rounds)


def _case(name: str, make: Callable[[], Any], sizes: dict[str, int], rounds: int) -> Case:
    data = _data(make is _lite, sizes)
    done = []
    for round_number in range(rounds + 1):
        sides = [_learner, _bare] if round_number % 2 else [_bare, _learner]
        seconds = {side: side(make(), data, sizes) for side in sides}
        passed = sizes["items"] * sizes["epochs"]
        if round_number:  # The first one warms up.
            done.append((passed / seconds[_learner], passed / seconds[_bare]))
    return compare(
        NAME,
        f"{name}: training items a second, validation after each epoch included",
        done,
        unit="items/s",
        limit=LIMIT,
        higher_is_better=True,
    )


def _mlp() -> Any:
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            hidden = nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
            self.layers = nn.Sequential(*hidden, nn.Linear(64, 2))

        def forward(self, batch: dict[str, Any]) -> Any:
            return self.layers(batch["x"])

    return Network()


def _lite() -> Any:
    from torch import nn

    from seedbed_vision import backbones
    from seedbed_vision.networks import FeatureHead

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbones.build(backbones.LITE, pretrained=True)
            self.head = FeatureHead(self.backbone.feature_size, 2, dropout=0.0)

        def forward(self, batch: dict[str, Any]) -> Any:
            return self.head({"features": self.backbone(batch["x"])[:, None]})

    return Network()


def _data(pictures: bool, sizes: dict[str, int]) -> Any:
    import numpy as np

    from seedbed_sdk.trainer import Data, SplitArrays

    generator = np.random.default_rng(0)
    count = sizes["items"] + sizes["valid"]
    shape = (count, SIDE, SIDE, 3) if pictures else (count, 30)
    inputs = generator.normal(size=shape).astype(np.float32)
    target = generator.integers(0, 2, count)
    first = sizes["items"]
    return Data(
        SplitArrays({"x": inputs[:first]}, target[:first]),
        SplitArrays({"x": inputs[first:]}, target[first:]),
    )


def _learner(network: Any, data: Any, sizes: dict[str, int]) -> float:
    from seedbed_sdk.blocks import CategoryBlock
    from seedbed_sdk.datablock import DataBlock
    from seedbed_sdk.learner import Learner, LearnerConfig
    from seedbed_sdk.metrics import METRICS
    from seedbed_sdk.testing import RecordingRun

    block = DataBlock([], CategoryBlock("y", ("a", "b")))
    config = LearnerConfig(sizes["epochs"], 1e-3, batch_size=sizes["batch"])
    learner = Learner(network, block, config)
    run = RecordingRun(METRICS["accuracy"], data.valid.target)
    began = time.monotonic()
    learner.fit(data, run)
    return time.monotonic() - began


def _bare(network: Any, data: Any, sizes: dict[str, int]) -> float:
    """What one writes who wants the same: AdamW without decay of biases, a schedule, the best
    weights kept, the accuracy after each epoch."""
    import torch
    from torch.nn.functional import cross_entropy

    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim >= 2]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    inputs = torch.from_numpy(data.train.inputs["x"])
    target = torch.from_numpy(data.train.target)
    valid, truth = torch.from_numpy(data.valid.inputs["x"]), torch.from_numpy(data.valid.target)
    batch, steps = sizes["batch"], sizes["items"] // sizes["batch"]
    total, step, best, kept = steps * sizes["epochs"], 0, -1.0, {}
    began = time.monotonic()
    for _ in range(sizes["epochs"]):
        network.train()
        order = torch.randperm(len(inputs))
        for index in range(steps):
            rows = order[index * batch : (index + 1) * batch]
            rising, falling = (step + 1) / (0.05 * total), (total - step) / (0.4 * total)
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1.0, rising, falling)
            loss = cross_entropy(network({"x": inputs[rows]}), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        network.eval()
        with torch.inference_mode():
            logits = torch.cat([network({"x": part}) for part in valid.split(1024)])
        accuracy = float((logits.argmax(1) == truth).float().mean())
        if accuracy > best:
            best = accuracy
            kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(kept)
    return time.monotonic() - began
