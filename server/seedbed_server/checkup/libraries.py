"""What of the plugins does not work, and what their libraries find. Runs in a call process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from seedbed_sdk import registry


def look() -> dict[str, Any]:
    """`tasks`: their names; `problems`: the plugins that failed; `missing`: by task, what would
    make it better and is not installed; `accelerators`: `name`, `total_bytes` and `free_bytes` of
    each."""
    loaded = registry.load()
    missing: dict[str, list[str]] = {}
    problems = [asdict(problem) for problem in loaded.problems]
    for name, task in loaded.tasks.items():
        try:
            found = list(task.missing())
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            text = f"asking the task {name!r} what it lacks failed: {type(error).__name__}: {error}"
            problems.append(
                {"plugin": name, "package": loaded.packages[name].name, "message": text}
            )
            continue
        if found:
            missing[name] = found
    return {
        "tasks": list(loaded.tasks),
        "problems": problems,
        "missing": missing,
        "accelerators": _accelerators(),
    }


def _accelerators() -> list[dict[str, Any]]:
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append({"name": name, "total_bytes": total, "free_bytes": free})
    return found
