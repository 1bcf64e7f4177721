"""The network for tables: many small networks that share their weights."""

from __future__ import annotations

import torch
from torch import nn

from seedbed_sdk.blocks.tabular import TabularBlock
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.trainer import Blueprint
from seedbed_tabular.encoders import CategoryEncoder, NumberEncoder

MIN_STEPS = 32
MIN_BATCH = 8
CELLS_PER_THREAD = 4_000_000


class EnsembleLinear(nn.Module):
    """A linear layer of K members, [B, K or 1, inputs] to [B, K, outputs].

    The members share the matrix; each scales its inputs and its outputs and adds a bias of its own
    (Wen et al. 2020, "BatchEnsemble"). With `diverse`, their scales of the inputs begin as random
    signs, so that the members start apart.
    """

    def __init__(self, members: int, inputs: int, outputs: int, *, diverse: bool = False) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        signs = torch.randint(0, 2, (members, inputs)).float() * 2.0 - 1.0
        self.input_scale = nn.Parameter(signs if diverse else torch.ones(members, inputs))
        self.output_scale = nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = x * self.input_scale
        return nn.functional.linear(scaled, self.weight) * self.output_scale + self.bias


class EnsembleNorm(nn.Module):
    """Batch normalisation of each member by itself, [B, K, width]."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(members * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normalised: torch.Tensor = self.norm(x.flatten(1))
        return normalised.view_as(x)


class ResidualBlock(nn.Module):
    """x + f(x) with f a normalised hidden layer, [B, K, width] to [B, K, width]."""

    def __init__(self, members: int, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            EnsembleNorm(members, width),
            EnsembleLinear(members, width, width * 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            EnsembleLinear(members, width * 2, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.body(x)
        return y


class TabularNetwork(nn.Module):
    """From `numeric` float32 [B, F] with NaN and `categorical` int64 [B, K] to the raw outputs of
    every member, [B, members, output size].

    After TabM (Gorishniy et al. 2024, "TabM: Advancing Tabular Deep Learning with
    Parameter-Efficient Ensembling"), on the residual blocks of Gorishniy et al. 2021.
    """

    def __init__(
        self,
        block: TabularBlock,
        output_size: int,
        *,
        members: int,
        width: int,
        depth: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.numbers = NumberEncoder(block.numeric) if block.numeric else None
        self.categories = CategoryEncoder(block.categorical) if block.categorical else None
        encoders = (self.numbers, self.categories)
        size = sum(encoder.output_size for encoder in encoders if encoder is not None)
        self.dropout = nn.Dropout(dropout / 2)
        self.first = EnsembleLinear(members, size, width, diverse=True)
        self.blocks = nn.Sequential(*(ResidualBlock(members, width, dropout) for _ in range(depth)))
        self.norm = EnsembleNorm(members, width)
        bound = width**-0.5
        self.head = nn.Parameter(torch.empty(members, width, output_size).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.zeros(members, output_size))

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = []
        if self.numbers is not None:
            parts.append(self.numbers(inputs["numeric"]))
        if self.categories is not None:
            parts.append(self.categories(inputs["categorical"]))
        x = self.first(self.dropout(torch.cat(parts, dim=1))[:, None, :])
        x = self.norm(self.blocks(x)).relu()
        return torch.einsum("bki,kio->bko", x, self.head) + self.head_bias


class TabularLearner(Learner):
    """Trains every member by itself, and puts out the mean of the members' activated outputs.

    Takes smaller batches where a table is so small that an epoch would have less than 32.
    """

    def batch_size_for(self, items: int) -> int:
        """So few that a small table makes enough steps too."""
        return min(super().batch_size_for(items), max(MIN_BATCH, items // MIN_STEPS))

    def threads_for(self, batch_size: int) -> int:
        """Batches of few numbers lose more to waking threads than they gain."""
        cells = batch_size * sum(parameter.numel() for parameter in self.network.parameters())
        return max(1, min(torch.get_num_threads(), cells // CELLS_PER_THREAD))

    def _criterion(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super()._criterion(raw.flatten(0, 1), target.repeat_interleave(raw.shape[1], dim=0))

    def _activate(self, raw: torch.Tensor) -> torch.Tensor:
        activated = super()._activate(raw.flatten(0, 1))
        return activated.reshape(*raw.shape[:2], *activated.shape[1:]).mean(dim=1)


def build(blueprint: Blueprint) -> Learner:
    """A learner with freshly initialised weights, the same for the same seed."""
    (block,) = blueprint.block.inputs
    assert isinstance(block, TabularBlock)
    parameters = blueprint.parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blueprint.seed)
        network = TabularNetwork(
            block,
            blueprint.block.target.output_size,
            members=int(parameters["members"]),
            width=int(parameters["width"]),
            depth=int(parameters["depth"]),
            dropout=float(parameters["dropout"]),
        )
    config = LearnerConfig(
        epochs=int(parameters["epochs"]),
        learning_rate=float(parameters["learning_rate"]),
        weight_decay=float(parameters["weight_decay"]),
        batch_size=int(parameters["batch_size"]),
        clip_norm=1.0,
    )
    return TabularLearner(
        network, blueprint.block, config, hardware=blueprint.hardware, seed=blueprint.seed
    )
