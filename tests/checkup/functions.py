"""What call processes of test servers find when the server is examined."""

from __future__ import annotations

from typing import Any


def well() -> dict[str, Any]:
    return {"tasks": ["tiny"], "problems": [], "missing": {}, "accelerators": []}


def broken() -> dict[str, Any]:
    """A plugin that failed, weights that two tasks lack, and one accelerator."""
    lacking = "no pretrained weights are installed; pip install weights"
    return {
        "tasks": ["tiny", "small"],
        "problems": [{"plugin": "odd", "package": "odd-plugin", "message": "No module named 'x'"}],
        "missing": {"tiny": [lacking], "small": [lacking]},
        "accelerators": [{"name": "Card", "total_bytes": 80 * 10**9, "free_bytes": 70 * 10**9}],
    }
