"""Which of the installed tasks fit a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seedbed_sdk.dataset import CONTENTS
from seedbed_server.data.shape import Shape


def fitting_tasks(shape: Shape, layout: str, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the tasks, described as in the catalogue, that read such data, the best fit first:
    those for the most particular type of its inputs, and of these for the likeliest type of its
    target. Where the target is but a guess and suits no task, it does not count."""
    kinds = _input_types(shape)
    targets = shape.target_types
    fitting = []
    for task in tasks:
        inputs = [kinds.index(kind) for kind in task["input_types"] if kind in kinds]
        content, contents = shape.dataset.content, task.get("contents", ())
        if layout not in task["layouts"] or not inputs:
            continue
        if content and contents and content not in contents:
            continue
        matching = [targets.index(kind) for kind in task["target_types"] if kind in targets]
        fitting.append((min(inputs), min(matching, default=len(targets)), str(task["name"])))
    suitable = [found for found in fitting if found[1] < len(targets)]
    if not suitable and (shape.guessed or not targets):
        suitable = fitting
    return [name for *_, name in sorted(suitable, key=lambda found: found[:2])]


def _input_types(shape: Shape) -> list[str]:
    """The types of input that the data may be, the most particular first."""
    if shape.dataset.layout != "table":
        content = shape.dataset.content
        rows = ["tabular"] if shape.has_table else []
        return [*([content] if content else CONTENTS), *rows]
    types = {shape.types[name] for name in shape.inputs}
    found = ["user_item"] if shape.user else []
    found += ["series"] if shape.series else []
    found += ["text"] if shape.text else []
    return found if found == ["text"] and types <= {"text", "empty"} else [*found, "tabular"]
