"""What every task must do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from seedbed_sdk import bundle
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock, PreparedData
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.metrics import METRICS, Metric
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.task import Task
from seedbed_sdk.testing.folders import PlainFolders
from seedbed_sdk.testing.runs import RecordingRun
from seedbed_sdk.trainer import Architecture, Blueprint, Data, Hardware, Trainer

SEED = 7


class TaskContract:
    """A class of tests over an installed task. Use `task_contract` to make one.

    The dataset should be small, a few hundred items at most, and hold something to be learned.
    """

    task_name: ClassVar[str]
    make_dataset: ClassVar[Callable[[], Dataset]]
    target: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    parameters: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def registry(cls) -> Registry:
        loaded = load()
        assert cls.task_name in loaded.tasks, (
            f"no installed plugin brings the task {cls.task_name!r}; "
            f"problems: {loaded.problems or 'none'}"
        )
        return loaded

    @pytest.fixture(scope="class")
    @classmethod
    def task(cls, registry: Registry) -> Task[Any]:
        return registry.tasks[cls.task_name]

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, task: Task[Any], registry: Registry) -> list[_Trained]:
        """Every architecture that fits, trained with its first default."""
        return [
            cls._train(task, registry, architecture.name)
            for architecture in cls._architectures(task, registry)
        ]

    def test_describes_itself(self, task: Task[Any]) -> None:
        """Name, title, description and a JSON Schema with a description for every option."""
        assert task.name == task.name.lower().replace(" ", "_")
        assert task.title and task.description
        schema = task.options.model_json_schema()
        json.dumps(schema)
        bare = [k for k, v in schema.get("properties", {}).items() if not v.get("description")]
        assert not bare, f"options without a description: {bare}"

    def test_something_fits(self, task: Task[Any], registry: Registry) -> None:
        """At least one architecture, and every default lies inside its space."""
        for architecture in self._architectures(task, registry):
            for defaults in architecture.portfolio:
                outside = [k for k, v in defaults.items() if v not in architecture.space[k]]
                assert not outside, f"{architecture.name}: defaults outside the space: {outside}"
                assert set(defaults) == set(architecture.space), architecture.name

    def test_learns_better_than_chance(self, trained: list[_Trained]) -> None:
        """The best architecture beats what guessing by frequency, or the mean, would score."""
        best = trained[0].chance
        for result in trained:
            best = result.score if result.metric.better(result.score, best) else best
        assert trained[0].metric.better(best, trained[0].chance), (
            f"best {best:.4f}, guessing scores {trained[0].chance:.4f}"
        )

    def test_is_deterministic_for_a_seed(
        self, task: Task[Any], registry: Registry, trained: list[_Trained]
    ) -> None:
        """The same blueprint on the same data gives the same outputs, bit for bit."""
        for result in trained:
            again = self._train(task, registry, result.architecture.name)
            assert np.array_equal(result.outputs, again.outputs), result.architecture.name

    def test_pickles_nothing_and_reloads(
        self, trained: list[_Trained], registry: Registry, tmp_path: Path
    ) -> None:
        """The bundle has no pickle in it, opens again, and predicts the same."""
        for result in trained:
            folder = tmp_path / result.architecture.name
            folder.mkdir()
            result.write(folder)
            for path in (p for p in folder.rglob("*") if p.is_file()):
                assert not _unpickles(path), f"{path.name} is a pickle"
            predictor = bundle.open_bundle(folder, registry, Hardware())
            outputs = predictor.trainer.predict(result.prepared.valid.inputs)
            np.testing.assert_allclose(outputs, result.outputs, rtol=1e-5, atol=1e-6)

    def test_predicts_the_same_in_another_process(
        self, trained: list[_Trained], tmp_path: Path
    ) -> None:
        """Only the bundle and the installed plugins are needed."""
        result = trained[0]
        folder = tmp_path / "bundle"
        folder.mkdir()
        result.write(folder)
        np.savez(tmp_path / "inputs.npz", **dict(result.prepared.valid.inputs))  # type: ignore[arg-type]
        script = (
            "import sys, numpy as np\n"
            "from pathlib import Path\n"
            "from seedbed_sdk import bundle\n"
            "from seedbed_sdk.registry import load\n"
            "from seedbed_sdk.trainer import Hardware\n"
            "folder = Path(sys.argv[1])\n"
            "p = bundle.open_bundle(folder / 'bundle', load(), Hardware())\n"
            "inputs = dict(np.load(folder / 'inputs.npz'))\n"
            "np.save(folder / 'outputs.npy', p.trainer.predict(inputs))\n"
        )
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
        outputs = np.load(tmp_path / "outputs.npy")
        np.testing.assert_allclose(outputs, result.outputs, rtol=1e-5, atol=1e-6)

    def test_predictions_are_whole(self, trained: list[_Trained]) -> None:
        """One decoded prediction an item, finite, of the kind the target says."""
        for result in trained:
            decoded = result.prepared_block.target.decode(result.outputs)
            assert len(decoded) == len(result.prepared.valid)
            assert np.isfinite(result.outputs).all()
            kinds = {prediction.kind for prediction in decoded}
            assert kinds == {result.prepared_block.target.prediction_kind}

    def test_survives_a_bad_item(self, task: Task[Any]) -> None:
        """An item without a target is left out and the rest is used."""
        block = self._block(task)
        items = block.items["train"].copy()
        column = items[block.target.columns[0]].astype(object)
        column.iloc[0] = None
        items[block.target.columns[0]] = column
        block.items = {**block.items, "train": items}
        prepared = block.prepare(SEED)
        assert any(problem.position == 0 for problem in prepared.problems["train"])

    def test_is_prepared_once(self, task: Task[Any], tmp_path: Path) -> None:
        """Data that an earlier job has prepared, and the blocks with it, are as they would be."""
        cache = PlainFolders(tmp_path)
        blocks = [self._block(task) for _ in range(3)]
        fresh, *kept = [
            block.prepare(SEED, folders)
            for block, folders in zip(blocks, (None, cache, cache), strict=True)
        ]
        for prepared, block in zip(kept, blocks[1:], strict=True):
            assert block.state() == blocks[0].state()
            for split in ("train", "valid", "test"):
                ours, same = getattr(prepared, split), getattr(fresh, split)
                assert np.array_equal(ours.target, same.target, equal_nan=True)
                assert ours.inputs.keys() == same.inputs.keys()
                for name, array in same.inputs.items():
                    np.testing.assert_array_equal(ours.inputs[name], array)

    @classmethod
    def _block(cls, task: Task[Any]) -> DataBlock:
        dataset = cls.make_dataset()
        return task.data_block(dataset, cls.target, task.options.model_validate(cls.options))

    @classmethod
    def _architectures(cls, task: Task[Any], registry: Registry) -> list[Architecture]:
        block = cls._block(task)
        fitting = task.architectures(block, Hardware(), registry.available(block))
        assert fitting, "no installed architecture fits the task's data"
        return fitting

    @classmethod
    def _train(cls, task: Task[Any], registry: Registry, name: str) -> _Trained:
        block = cls._block(task)
        prepared = block.prepare(SEED)
        architecture = registry.architectures[name]
        parameters = dict(architecture.portfolio[0])
        parameters.update({k: v for k, v in cls.parameters.items() if k in parameters})
        trainer = architecture.build(Blueprint(block, parameters, Hardware(), SEED))
        metric = METRICS[block.target.default_metric]
        run = RecordingRun(metric, prepared.valid.target)
        trainer.fit(Data(prepared.train, prepared.valid), run)
        assert run.reports, f"{name} reported no epoch"
        outputs = trainer.predict(prepared.valid.inputs)
        return _Trained(architecture, parameters, block, prepared, trainer, outputs, metric)


class _Trained:
    """An architecture after training."""

    def __init__(
        self,
        architecture: Architecture,
        parameters: dict[str, Any],
        block: DataBlock,
        prepared: PreparedData,
        trainer: Trainer,
        outputs: Array,
        metric: Metric,
    ) -> None:
        self.architecture = architecture
        self.parameters = parameters
        self.prepared_block = block
        self.prepared = prepared
        self.trainer = trainer
        self.outputs = outputs
        self.metric = metric
        self.score = metric.compute(prepared.valid.target, outputs)
        guess = block.target.guess(prepared.train.target, len(prepared.valid))
        self.chance = metric.compute(prepared.valid.target, guess)

    def write(self, folder: Path) -> None:
        bundle.write(
            folder,
            block=self.prepared_block,
            trainer=self.trainer,
            architecture=self.architecture.name,
            parameters=self.parameters,
            seed=SEED,
            about={},
        )


def _unpickles(path: Path) -> bool:
    """Whether the file begins like a pickle, or is an archive of one as `torch.save` writes it."""
    head = path.read_bytes()[:4]
    return head[:2] in {b"\x80" + bytes([p]) for p in range(2, 6)} or head == b"PK\x03\x04"


def task_contract(
    task: str,
    dataset: Callable[[], Dataset],
    *,
    target: str = "",
    options: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> type[TaskContract]:
    """A test class for an installed task, to be bound to a name that starts with `Test`.

    `parameters` overrides defaults of the architectures, such as fewer epochs for speed.
    """
    return type(
        f"Test{task.title().replace('_', '')}",
        (TaskContract,),
        {
            "task_name": task,
            "make_dataset": staticmethod(dataset),
            "target": target,
            "options": dict(options or {}),
            "parameters": dict(parameters or {}),
        },
    )
