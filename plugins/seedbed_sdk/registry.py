"""Finds the installed plugins and what they bring."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pluggy

from seedbed_sdk import hookspecs
from seedbed_sdk.blocks import INPUT_BLOCKS, TARGET_BLOCKS
from seedbed_sdk.blocks.base import Block, InputBlock, TargetBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.hookspecs import SampleLoader
from seedbed_sdk.metrics import METRICS, Metric
from seedbed_sdk.readers import Reader
from seedbed_sdk.task import Task
from seedbed_sdk.trainer import Architecture

GROUP = "seedbed"


@dataclass(frozen=True, slots=True)
class Problem:
    """A plugin that was found and cannot be used, why, and what would mend it."""

    plugin: str
    package: str
    message: str


@dataclass(frozen=True, slots=True)
class Package:
    """The installed package that brought something."""

    name: str
    version: str


@dataclass
class Registry:
    """What the SDK has and the plugins registered, by name; blocks by their type,
    readers by each of their keys."""

    tasks: dict[str, Task[Any]] = field(default_factory=dict)
    architectures: dict[str, Architecture] = field(default_factory=dict)
    samples: dict[str, SampleLoader] = field(default_factory=dict)
    blocks: dict[str, type[Block]] = field(
        default_factory=lambda: {**INPUT_BLOCKS, **TARGET_BLOCKS}
    )
    metrics: dict[str, Metric] = field(default_factory=lambda: dict(METRICS))
    readers: dict[str, Reader] = field(default_factory=dict)
    packages: dict[str, Package] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def available(self, block: DataBlock) -> list[Architecture]:
        """The architectures for the block's types, or for what they become; baselines first."""
        becomes = tuple(part.becomes or part.type for part in block.inputs)
        return self._for_types([block.input_types, becomes], [block.target.type])

    def for_task(self, task: Task[Any]) -> list[Architecture]:
        """The architectures that some data of the task might be given to."""
        types = [self.blocks[t] for t in task.input_types if t in self.blocks]
        becomes = [t.becomes for t in types if issubclass(t, InputBlock) and t.becomes]
        return self._for_types([(t,) for t in (*task.input_types, *becomes)], task.target_types)

    def metrics_of(self, target: type[TargetBlock] | TargetBlock) -> list[Metric]:
        """The measures of a type of target: its own in their order, then those of plugins."""
        own = [self.metrics[name] for name in target.metrics]
        others = [m for m in self.metrics.values() if target.type in m.target_types]
        return own + [metric for metric in others if metric not in own]

    def _for_types(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[str]
    ) -> list[Architecture]:
        fitting = [
            a
            for a in self.architectures.values()
            if tuple(a.input_types) in inputs and set(a.target_types) & set(targets)
        ]
        return sorted(fitting, key=lambda a: not a.baseline)


def load(entry_points: Sequence[importlib.metadata.EntryPoint] | None = None) -> Registry:
    """Loads every plugin by its entry point. One that fails becomes a Problem and registers
    nothing; the others are not affected."""
    registry = Registry()
    if entry_points is None:
        entry_points = list(importlib.metadata.entry_points(group=GROUP))
    for entry_point in sorted(entry_points, key=lambda e: (e.dist.name if e.dist else "", e.name)):
        package = Package(
            entry_point.dist.name if entry_point.dist else "",
            entry_point.dist.version if entry_point.dist else "",
        )
        try:
            _load_one(entry_point, package, registry)
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            message = _explain(entry_point, error)
            registry.problems.append(Problem(entry_point.name, package.name, message))
    return registry


class _NameTaken(Exception):
    """Two plugins registered the same name."""


def _load_one(
    entry_point: importlib.metadata.EntryPoint, package: Package, registry: Registry
) -> None:
    # A manager for each plugin, so that a misspelt hook is blamed on the one that has it and leaves
    # nothing of it behind.
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(entry_point.load(), entry_point.name)
    manager.check_pending()
    tasks: dict[str, Task[Any]] = {}
    architectures: dict[str, Architecture] = {}
    samples: dict[str, SampleLoader] = {}
    blocks: dict[str, type[Block]] = {}
    metrics: dict[str, Metric] = {}
    readers: dict[str, Reader] = {}
    manager.hook.register_tasks(register=lambda t: _add("task", tasks, registry.tasks, t.name, t))
    manager.hook.register_architectures(
        register=lambda a: _add("architecture", architectures, registry.architectures, a.name, a)
    )
    manager.hook.register_samples(
        register=lambda name, load: _add("sample", samples, registry.samples, name, load)
    )
    manager.hook.register_blocks(
        register=lambda b: _add("type of data", blocks, registry.blocks, b.type, b)
    )
    manager.hook.register_metrics(
        register=lambda m: _add("metric", metrics, registry.metrics, m.name, m)
    )
    manager.hook.register_readers(
        register=lambda r: _add_each("reader", readers, registry.readers, r.keys, r)
    )
    registry.tasks.update(tasks)
    registry.architectures.update(architectures)
    registry.samples.update(samples)
    registry.blocks.update(blocks)
    registry.metrics.update(metrics)
    registry.readers.update(readers)
    registry.packages.update(dict.fromkeys(tasks, package))


def _add(
    noun: str, new: dict[str, Any], taken: Mapping[str, Any], name: str, value: object
) -> None:
    if name in taken or name in new:
        raise _NameTaken(
            f"the {noun} name {name!r} is taken by another plugin; choose another name"
        )
    new[name] = value


def _add_each(
    noun: str, new: dict[str, Any], taken: Mapping[str, Any], names: Sequence[str], value: object
) -> None:
    for name in names:
        _add(noun, new, taken, name, value)


def _explain(entry_point: importlib.metadata.EntryPoint, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"importing {entry_point.value!r} failed: {error}; "
            "install what is missing, or uninstall the plugin"
        )
    if isinstance(error, _NameTaken | pluggy.PluginValidationError):
        return str(error)
    return f"loading {entry_point.value!r} failed: {type(error).__name__}: {error}"
