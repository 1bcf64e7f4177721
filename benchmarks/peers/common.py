"""What the scripts share: reading what was asked, saying the answer, telling the time."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

asked: dict[str, Any] = json.loads(sys.argv[1])
train, test = Path(asked["train"]), Path(asked["test"])
target, metric = asked["target"], asked["metric"]
seed: int = asked["seed"]
known: dict[str, Any] = asked["known"]
began = time.monotonic()


def start() -> None:
    """Starts the clock: to be called when all is imported and nothing read."""
    global began
    began = time.monotonic()


def left(share: float = 1.0) -> float:
    """Seconds that are left of the first `share` of the budget; negative beyond it."""
    return began + asked["seconds"] * share - time.monotonic()


def spent() -> float:
    """Seconds since the start."""
    return time.monotonic() - began


def answer(score: float, seconds: float, package: str) -> None:
    """Prints the result; `package` is the one whose version is told."""
    print(json.dumps({"score": score, "seconds": seconds, "version": version(package)}))


def class_folders(folder: Path) -> tuple[list[Path], list[str]]:
    """The files in a folder of classes and the class of each."""
    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    return files, [path.parent.name for path in files]
