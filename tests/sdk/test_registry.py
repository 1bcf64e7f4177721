"""Plugins: found by entry points, and one that fails takes nothing else down."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from seedbed_sdk.registry import GROUP, load

TASK = """
from seedbed_sdk import CategoryBlock, DataBlock, TabularBlock, Task, TaskOptions, hookimpl

class Mine(Task):
    name, title, description = "{name}", "Mine", "Mine."
    options, input_types, target_types = TaskOptions, ("tabular",), ("category",)

    def data_block(self, dataset, target, options):
        raise NotImplementedError

@hookimpl
def register_tasks(register):
    register(Mine())
"""


MakeModule = Callable[[str, str], EntryPoint]


@pytest.fixture
def module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MakeModule:
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, source: str) -> EntryPoint:
        (tmp_path / f"{name}.py").write_text(source)
        request.addfinalizer(lambda: sys.modules.pop(name, None))
        return EntryPoint(name, name, GROUP)

    return make


def test_built_in_tasks_come_by_entry_points() -> None:
    registry = load()
    assert {"tabular", "image_classification"} <= set(registry.tasks)
    assert not registry.problems
    assert registry.packages["tabular"].name == "seedbed"


def test_a_plugin_that_does_not_import_is_a_problem_and_the_rest_works(module: MakeModule) -> None:
    registry = load(
        [
            module("broken_one", "import not_installed_here"),
            module("good_one", TASK.format(name="good")),
        ]
    )
    assert list(registry.tasks) == ["good"]
    (problem,) = registry.problems
    assert problem.plugin == "broken_one"
    assert problem.message == (
        "importing 'broken_one' failed: No module named 'not_installed_here'; "
        "install what is missing, or uninstall the plugin"
    )


def test_a_name_that_is_taken_registers_nothing_of_the_second_plugin(module: MakeModule) -> None:
    registry = load(
        [module("a_first", TASK.format(name="same")), module("b_second", TASK.format(name="same"))]
    )
    assert list(registry.tasks) == ["same"]
    assert registry.problems[0].plugin == "b_second"
    assert "the task name 'same' is taken" in registry.problems[0].message


def test_a_misspelt_hook_is_named(module: MakeModule) -> None:
    source = (
        "from seedbed_sdk import hookimpl\n\n@hookimpl\ndef register_taks(register):\n    pass\n"
    )
    registry = load([module("misspelt", source)])
    assert "register_taks" in registry.problems[0].message


def test_a_plugin_that_raises_says_what(module: MakeModule) -> None:
    registry = load([module("raising", "raise RuntimeError('no licence')")])
    assert registry.problems[0].message == "loading 'raising' failed: RuntimeError: no licence"
