"""Short calls for tests: the functions that a test server's call processes run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from seedbed_sdk.errors import InvalidArgument

CALLS = {
    "catalogue": "tests.executors.functions:catalogue",
    "check_job": "tests.executors.functions:check_job",
    "inspect": "tests.executors.functions:inspect",
    "predict": "tests.executors.functions:predict",
    "hardware": "seedbed_server.executors.hardware:probe",
    "echo": "tests.executors.functions:echo",
    "bug": "tests.executors.functions:bug",
    "die": "tests.executors.functions:die",
    "sleep": "tests.executors.functions:sleep",
}


def catalogue() -> dict[str, Any]:
    """Two tasks and a plugin that could not be loaded."""
    tiny = {
        "name": "tiny",
        "title": "Tiny",
        "description": "Learns nothing.",
        "options_schema": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "mode": {"type": "string", "description": "What the test driver does."},
                "keep": {"type": "boolean"},
                "epochs": {"type": "integer", "minimum": 1, "maximum": 10000},
                "valid_fraction": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
        },
        "metrics": [
            {"name": "accuracy", "higher_is_better": True, "target_types": ["category"]},
            {"name": "log_loss", "higher_is_better": False, "target_types": ["category"]},
        ],
        "architectures": [
            {
                "name": "line",
                "description": "A line.",
                "baseline": True,
                "search_space": {
                    "learning_rate": {"kind": "float", "low": 1e-4, "high": 0.1, "log": True},
                    "epochs": {"kind": "int", "low": 1, "high": 30, "log": False},
                },
            },
            {
                "name": "net",
                "description": "A net.",
                "baseline": False,
                "search_space": {
                    "learning_rate": {"kind": "float", "low": 1e-3, "high": 1.0, "log": True},
                    "epochs": {"kind": "int", "low": 1, "high": 30, "log": False},
                    "layers": {"kind": "choices", "values": [1, 2, 4]},
                    "bias": {"kind": "choices", "values": [True, False]},
                },
            },
        ],
        "prediction_kinds": ["classification"],
        "package": "tests",
        "package_version": "1",
        "input_types": ["tabular"],
        "target_types": ["category"],
    }
    problem = {"plugin": "broken", "package": "broken-plugin", "message": "No module named 'x'"}
    return {"tasks": [tiny, {**tiny, "name": "small"}], "problems": [problem]}


def check_job(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Settles target and metric; the target `missing` is not there."""
    if payload["target"] == "missing":
        raise InvalidArgument("job.target", "there is no column 'missing'; there are: a, b")
    return {"metric": payload["metric"] or "accuracy", "target": payload["target"] or "b"}


def inspect(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A made-up report over a real file's text; the target `crash` ends the process."""
    if payload["target"] == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    uri = payload["sources"][0]["uri"]
    return {
        "layout": "table",
        "splits": [{"split": "train", "item_count": len(Path(uri).read_text().splitlines())}],
        "columns": [
            {
                "name": "a",
                "type": "numeric",
                "missing_count": 0,
                "distinct_count": 2,
                "examples": ["1", "2"],
            }
        ],
        "classes": [{"label": "yes", "count": 3}],
        "target": payload["target"] or "b",
        "samples": [
            {"a": 1, "b": None, "c": 1.5, "d": True, "e": "text", "f": b"\x00\xff", "g": [1, 2]}
        ],
        "findings": [
            {
                "severity": "WARNING",
                "kind": "constant_column",
                "subject": "a",
                "message": "constant",
                "suggestion": "drop it",
            }
        ],
        "tasks": [task["name"] for task in payload["tasks"]],
        "content": "",
        "guesses": [
            {"what": "target", "value": "b", "why": "the last column", "overrule": "--target"}
        ],
        "tables": [{"role": "items", "row_count": 2, "columns": ["a", "c"]}],
    }


def predict(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Answers with the type of column `a`; the values `wait` and `die` do what they say."""
    assert (Path(payload["bundle"]) / "bundle.json").exists()
    predictions: list[dict[str, Any]] = []
    for index, example in enumerate(payload["examples"]):
        if set(example) != {"a"}:
            raise InvalidArgument(
                f"examples[{index}].fields", f"takes the column a, got: {', '.join(example)}"
            )
        value = example["a"]
        if value == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(value, str) and value.startswith("wait:"):
            flag = Path(value.removeprefix("wait:"))
            flag.touch()
            while flag.exists():
                time.sleep(0.01)
        if isinstance(value, float):
            predictions.append(
                {"kind": "regression", "value": value, "lower": value - 1, "upper": value + 1}
            )
            continue
        label = f"{type(value).__name__} {os.getpid()}"
        predictions.append(
            {"kind": "classification", "label": label, "probabilities": [[label, 1.0]]}
        )
    return {"predictions": predictions}


def echo(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What came, and where it was."""
    return {**payload, "pid": os.getpid()}


def bug(payload: Mapping[str, Any]) -> dict[str, Any]:
    raise KeyError(payload["key"])


def die(payload: Mapping[str, Any]) -> dict[str, Any]:
    os.kill(os.getpid(), payload["signal"])
    return {}


def sleep(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Says its process id in a file, then sleeps."""
    Path(payload["file"]).write_text(str(os.getpid()))
    time.sleep(payload["seconds"])
    return {"now": datetime.now().astimezone()}


def sound_catalogue() -> dict[str, Any]:
    """The tasks, and no plugin that failed."""
    return {**catalogue(), "problems": []}
