"""What is configured, and the jobs that wait for it."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from seedbed_server.checkup.checks import Check, ok, problem, warning
from seedbed_server.executors.dispatcher import Dispatcher
from seedbed_server.jobs.values import JobState
from seedbed_server.settings import Settings
from seedbed_server.store.jobs import Census
from seedbed_server.telemetry import tracing

CONNECTING_SECONDS = 2.0
_PORTS = {"http": 80, "https": 443}


def check_settings(settings: Settings) -> Iterator[Check]:
    places = [str(root) for root in settings.allow_root]
    places += [f"{scheme}://" for scheme in settings.allow_scheme]
    read = f"read from {', '.join(places)}" if places else "not read from anywhere else"
    yield ok("settings", f"data may be uploaded, and {read}")
    for root in settings.allow_root:
        if not os.access(root, os.R_OK | os.X_OK):
            yield problem(
                "settings",
                f"the folder {root} that data may lie in cannot be read",
                "make it, let the server's user read it, or leave out that --allow-root",
            )
    if settings.insecure:
        yield warning(
            "settings",
            f"whoever reaches {settings.address} may do everything, since --insecure was given",
            "listen on 127.0.0.1, or see that only trusted machines reach it",
        )
    where = settings.metrics_address
    yield ok("metrics", f"Prometheus is answered at {where}" if where else "off")


def check_traces() -> Iterator[Check]:
    """Connects to the collector, where there is one."""
    url = tracing.endpoint()
    if not url:
        yield ok("traces", "off")
        return
    if not tracing.installed():
        yield warning(
            "traces",
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed",
            'pip install "seedbed[telemetry]"',
        )
        return
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 80)}"
    try:
        address = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80))
        socket.create_connection(address, CONNECTING_SECONDS).close()
    except OSError as error:
        yield warning(
            "traces",
            f"the collector {shown} cannot be reached: {error.strerror or error}; spans are lost",
            "start it, or correct OTEL_EXPORTER_OTLP_ENDPOINT; jobs are not affected",
        )
        return
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") == "grpc":
        yield warning(
            "traces",
            f"OTEL_EXPORTER_OTLP_PROTOCOL says grpc, and http/protobuf is sent to {shown}",
            "name the collector's HTTP port, usually 4318",
        )
        return
    yield ok("traces", f"sent to {shown}")


def check_jobs(census: Census, dispatcher: Dispatcher) -> Iterator[Check]:
    queued = census.by_state.get(JobState.QUEUED, 0)
    slots, used = dispatcher.slots, len(dispatcher.used_devices())
    places = ", ".join(f"{slot.device} with {slot.threads} threads" for slot in slots)
    text = f"{used} of {len(slots)} at work ({places}), {queued} waiting"
    if queued and used < len(slots):
        yield warning("jobs", text, "ask again; if they still wait, the server's log says why")
    elif queued > 4 * len(slots):
        yield warning("jobs", text, "give the server more --workers, or a second machine")
    else:
        yield ok("jobs", text)


def check_plugins(found: Mapping[str, Any]) -> Iterator[Check]:
    """`found` is what `libraries.look` has found."""
    tasks = found["tasks"]
    if tasks:
        yield ok("plugins", f"{len(tasks)} tasks: {', '.join(sorted(tasks))}")
    else:
        yield problem(
            "plugins", "there is no task to train", 'pip install "seedbed[server,vision,text]"'
        )
    for failed in found["problems"]:
        yield problem(
            "plugins",
            f"{failed['plugin']} (package {failed['package'] or 'unknown'}): {failed['message']}",
            "install what it needs, update it, or uninstall the package",
        )
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for task, texts in found["missing"].items():
        for text in texts:
            lacking[text].append(task)
    for text, names in lacking.items():
        what, _, suggestion = text.partition("; ")
        yield warning("weights", f"{', '.join(sorted(names))}: {what}", suggestion)
    if tasks and not lacking:
        yield ok("weights", "the pretrained weights that tasks use are installed")
