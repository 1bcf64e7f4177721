"""The installed tasks as the API process knows them: described by a call process, then kept."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.space import Domain, domain_from_dict
from seedbed_server import __version__
from seedbed_server.executors.call_pool import CallPool
from seedbed_server.store.files import write_text

log = structlog.get_logger()

GROUP = "seedbed"
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class MetricInfo:
    name: str
    higher_is_better: bool
    target_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchitectureInfo:
    name: str
    description: str
    baseline: bool
    search_space: Mapping[str, Domain]


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task as its plugin describes it. `options_schema` is a JSON Schema; `described` is the
    description as it came, for other processes."""

    name: str
    title: str
    description: str
    options_schema: Mapping[str, Any]
    metrics: tuple[MetricInfo, ...]
    architectures: tuple[ArchitectureInfo, ...]
    prediction_kinds: tuple[str, ...]
    package: str
    package_version: str
    input_types: tuple[str, ...]
    target_types: tuple[str, ...]
    described: Mapping[str, Any]

    def higher_is_better(self, metric: str) -> bool:
        """Which way a metric goes; an unknown one upwards."""
        return next((m.higher_is_better for m in self.metrics if m.name == metric), True)


@dataclass(frozen=True, slots=True)
class ProblemInfo:
    """A plugin that was found and could not be used."""

    plugin: str
    package: str
    message: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Tasks by name, in the order of their names, and the plugins that failed."""

    tasks: Mapping[str, TaskInfo]
    problems: tuple[ProblemInfo, ...]


class Catalogue:
    """Loads the descriptions once, in the background; `get` waits for them."""

    def __init__(self, calls: CallPool, folder: Path) -> None:
        self._calls = calls
        self._folder = folder
        self._loading: asyncio.Task[Contents] | None = None

    def start(self) -> None:
        """Begins to load."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name="catalogue")

    async def stop(self) -> None:
        """Loads no more."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def get(self) -> Contents:
        """The contents. Raises what loading them raised; the next `get` tries again."""
        self.start()
        loading = self._loading
        assert loading is not None
        try:
            return await asyncio.shield(loading)
        except SeedbedError:
            if self._loading is loading:
                self._loading = None
            raise

    async def _load(self) -> Contents:
        file = self._folder / f"catalogue-{await asyncio.to_thread(installed_plugins)}.json"
        kept = await asyncio.to_thread(_read, file)
        if kept is not None:
            return read_contents(kept)
        described = await self._calls.call("catalogue", {}, timeout=TIMEOUT_SECONDS)
        if not described["problems"]:
            # What mends a plugin, such as a missing library, need not show in the file's name.
            await asyncio.to_thread(_keep, file, described)
        log.info("catalogue_loaded", tasks=[task["name"] for task in described["tasks"]])
        return read_contents(described)


def installed_plugins() -> str:
    """Changes whenever a plugin comes, goes or is edited; takes milliseconds and imports none."""
    seen = hashlib.sha256(f"seedbed {__version__}".encode())
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        package = entry.value.split(":")[0].split(".")[0]
        dist = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
        seen.update(f"\n{entry.name} {entry.value} {dist}".encode())
        _add_files(seen, package)
    for ours in ("seedbed_sdk", "seedbed_server.plugins"):
        _add_files(seen, ours)
    return seen.hexdigest()[:32]


def _add_files(seen: Any, package: str) -> None:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    if spec and spec.origin and not folders:
        files = [Path(spec.origin)]
    for file in files:
        seen.update(f"\n{file} {file.stat().st_mtime_ns}".encode())


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _keep(file: Path, described: Mapping[str, Any]) -> None:
    for old in file.parent.glob("catalogue-*.json"):
        old.unlink(missing_ok=True)
    write_text(file, json.dumps(described))


def read_contents(described: Mapping[str, Any]) -> Contents:
    """What `plugins.describe` returns, as values."""
    tasks = sorted((_task(task) for task in described["tasks"]), key=lambda t: t.name)
    problems = tuple(
        ProblemInfo(p["plugin"], p["package"], p["message"]) for p in described["problems"]
    )
    return Contents({task.name: task for task in tasks}, problems)


def _task(described: Mapping[str, Any]) -> TaskInfo:
    return TaskInfo(
        name=described["name"],
        title=described["title"],
        description=described["description"],
        options_schema=described["options_schema"],
        metrics=tuple(
            MetricInfo(m["name"], m["higher_is_better"], tuple(m["target_types"]))
            for m in described["metrics"]
        ),
        architectures=tuple(
            ArchitectureInfo(
                a["name"],
                a["description"],
                a["baseline"],
                {k: domain_from_dict(d) for k, d in a["search_space"].items()},
            )
            for a in described["architectures"]
        ),
        prediction_kinds=tuple(described["prediction_kinds"]),
        package=described["package"],
        package_version=described["package_version"],
        input_types=tuple(described["input_types"]),
        target_types=tuple(described["target_types"]),
        described=described,
    )
