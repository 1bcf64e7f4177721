"""Trials a minute of a whole job, against a plain loop of the kind Optuna's PyTorch example shows.

Both sides train the same network (the task's own `tabm`, of fixed size) with AdamW for the same
number of epochs in batches of the same size, on the same arrays in memory, on one thread. Both
search learning rate and weight decay with TPE and prune by the median of earlier trials; since that
cuts differently on each side, a trial counts by the share of its epochs that were trained. Ours
also clips gradients, schedules the learning rate, keeps the best epoch's weights, and writes every
epoch down.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import seedbed
from benchmarks.measure import Case, compare
from benchmarks.processes import server
from seedbed_sdk.blocks.tabular import TabularBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.trainer import SplitArrays
from seedbed_tabular.network import MIN_STEPS, TabularNetwork
from seedbed_tabular.task import TabularOptions, TabularTask

NAME = "search_overhead"
ROWS = 2000
COLUMNS = 20
TRIALS = 20
EPOCHS = 5
MEMBERS = 4
WIDTH = 128
DEPTH = 1
DROPOUT = 0.1
SPACE: dict[str, object] = {
    "architecture": "tabm",
    "epochs": EPOCHS,
    "members": MEMBERS,
    "width": WIDTH,
    "depth": DEPTH,
    "dropout": DROPOUT,
    "batch_size": 64,
}
LEARNING_RATE = 1e-4, 1e-2
WEIGHT_DECAY = 1e-5, 1.0


@dataclass(frozen=True, slots=True)
class _Speed:
    """Whole trials a minute: `service` from CreateJob to the end, `search` of the search alone."""

    service: float
    search: float


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    # The worker trains a network this narrow on one thread too.
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        table = _table()
        table.to_csv(path / "table.csv", index=False)
        block, train, valid = _arrays(table)
        with server(path, "--allow-root", str(path)) as running:
            running.wait_for_log("slots")
            with seedbed.connect(running.address) as client:
                dataset = client.create_dataset(path / "table.csv")
                _ours(client, dataset, seed=0)
                _theirs(block, train, valid, seed=0, loader=True)
                done = [_round(client, dataset, block, train, valid, n) for n in range(rounds)]
    about = f"{TRIALS} trials of {EPOCHS} epochs, {ROWS} x {COLUMNS} table"
    yield compare(
        NAME,
        f"{about}, CreateJob to SUCCEEDED; theirs: Optuna, DataLoader over a TensorDataset",
        [(ours.service, loader) for ours, loader, _ in done],
        unit="trials/min",
        limit="required: ratio at least 1",
        higher_is_better=True,
    )
    yield compare(
        NAME,
        f"{about}, SEARCHING to FINISHING; theirs: the same loop",
        [(ours.search, loader) for ours, loader, _ in done],
        unit="trials/min",
        limit="none: shows what reading, checking, final scoring and publishing cost",
        higher_is_better=True,
    )
    yield compare(
        NAME,
        f"{about}, CreateJob to SUCCEEDED; theirs: tuned, slices of tensors and fused AdamW",
        [(ours.service, sliced) for ours, _, sliced in done],
        unit="trials/min",
        limit="none: 1 would be an overhead of nothing over the leanest loop",
        higher_is_better=True,
    )


def _round(
    client: seedbed.Client,
    dataset: seedbed.Dataset,
    block: DataBlock,
    train: SplitArrays,
    valid: SplitArrays,
    number: int,
) -> tuple[_Speed, float, float]:
    ours = _ours(client, dataset, seed=number + 1)
    loader = _theirs(block, train, valid, seed=number + 1, loader=True)
    sliced = _theirs(block, train, valid, seed=number + 1, loader=False)
    return ours, loader, sliced


def _table() -> pd.DataFrame:
    """Numbers that say something of the class, and not everything."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(ROWS, COLUMNS)).round(6)
    signal = values[:, 0] * values[:, 1] + values[:, 2:6].sum(axis=1)
    noisy = signal + generator.normal(size=ROWS)
    table = pd.DataFrame(values, columns=[f"x{i}" for i in range(COLUMNS)])
    table["target"] = np.where(noisy > 0, "yes", "no")
    return table


def _arrays(table: pd.DataFrame) -> tuple[DataBlock, SplitArrays, SplitArrays]:
    """Fitted block, training and validation split, as a worker prepares them."""
    block = TabularTask().data_block(
        Dataset.from_frame(table), "target", TabularOptions.model_validate({})
    )
    prepared = block.prepare(seed=0)
    return block, prepared.train, prepared.valid


# --- ours: a job on a server --------------------------------------------------------------------


def _ours(client: seedbed.Client, dataset: seedbed.Dataset, seed: int) -> _Speed:
    began = time.monotonic()
    entered: dict[str, datetime] = {}

    def note(event: seedbed.Event) -> None:
        if isinstance(event.body, seedbed.StateChanged):
            entered[event.body.state] = event.time

    job = client.train(
        "tabular",
        dataset,
        target="target",
        budget=f"{TRIALS}trials",
        search_space=SPACE,
        seed=seed,
        progress=note,
    )
    seconds = time.monotonic() - began
    trials = job.trials()
    if any(t.state not in ("COMPLETE", "PRUNED") for t in trials) or len(trials) != TRIALS:
        raise RuntimeError(f"job {job.id} has {[t.state for t in trials]}")
    whole = sum(trial.epochs for trial in trials) / EPOCHS
    searching = (entered["FINISHING"] - entered["SEARCHING"]).total_seconds()
    return _Speed(60 * whole / seconds, 60 * whole / searching)


# --- theirs: Optuna and a loop ------------------------------------------------------------------


def _theirs(
    block: DataBlock, train: SplitArrays, valid: SplitArrays, *, seed: int, loader: bool
) -> float:
    """Whole trials a minute. `loader` reads through a DataLoader, as examples do."""
    sets = _tensors(train), _tensors(valid)
    # What the service makes of any batch size that would leave fewer steps than this in an epoch.
    batch_size = len(train) // MIN_STEPS
    epochs = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal epochs
        network = _network(block)
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=trial.suggest_float("learning_rate", *LEARNING_RATE, log=True),
            weight_decay=trial.suggest_float("weight_decay", *WEIGHT_DECAY, log=True),
            fused=None if loader else True,
        )
        feed = _Loaders(*sets, batch_size) if loader else _Slices(*sets, batch_size)
        accuracy = 0.0
        for epoch in range(EPOCHS):
            accuracy = _epoch(network, optimizer, feed)
            epochs += 1
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    began = time.monotonic()
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )
    study.optimize(objective, n_trials=TRIALS)
    return 60 * epochs / EPOCHS / (time.monotonic() - began)


def _tensors(split: SplitArrays) -> TensorDataset:
    return TensorDataset(torch.from_numpy(split.inputs["numeric"]), torch.from_numpy(split.target))


def _network(block: DataBlock) -> TabularNetwork:
    (tabular,) = block.inputs
    assert isinstance(tabular, TabularBlock)
    return TabularNetwork(
        tabular,
        block.target.output_size,
        members=MEMBERS,
        width=WIDTH,
        depth=DEPTH,
        dropout=DROPOUT,
    )


Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


class _Loaders:
    """Batches as examples make them."""

    def __init__(self, train: TensorDataset, valid: TensorDataset, batch_size: int) -> None:
        self._train = DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True)
        self._valid = DataLoader(valid, batch_size=batch_size, shuffle=False)

    def train(self) -> Batches:
        """One epoch's."""
        return iter(self._train)

    def valid(self) -> Batches:
        """All items held out."""
        return iter(self._valid)


class _Slices:
    """Batches taken out of whole tensors, and validation in one piece."""

    def __init__(self, train: TensorDataset, valid: TensorDataset, batch_size: int) -> None:
        self._train = train.tensors
        self._valid = valid.tensors
        self._batch_size = batch_size

    def train(self) -> Batches:
        """One epoch's."""
        inputs, target = self._train
        order = torch.randperm(len(target))
        for start in range(0, len(target) - self._batch_size + 1, self._batch_size):
            rows = order[start : start + self._batch_size]
            yield inputs[rows], target[rows]

    def valid(self) -> Batches:
        """All items held out."""
        inputs, target = self._valid
        yield inputs, target


def _epoch(
    network: TabularNetwork, optimizer: torch.optim.Optimizer, feed: _Loaders | _Slices
) -> float:
    """Trains an epoch; accuracy on what was held out."""
    network.train()
    for inputs, target in feed.train():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(
            network({"numeric": inputs}).flatten(0, 1), target.repeat_interleave(MEMBERS)
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.eval()
    correct = total = 0
    with torch.no_grad():
        for inputs, target in feed.valid():
            chosen = network({"numeric": inputs}).softmax(dim=2).mean(dim=1).argmax(dim=1)
            correct += int((chosen == target).sum())
            total += len(target)
    return correct / total
