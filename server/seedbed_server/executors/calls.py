"""Short calls: a function by name, in a process that has the libraries for it.

Payloads and results are msgpack of plain data and times, never pickles.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NoReturn

import msgpack
import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server import logs
from seedbed_server.executors.assignment import end_process_group
from seedbed_server.executors.processes import enter_child, limit_threads

log = structlog.get_logger()

CALLS: Mapping[str, str] = {
    "catalogue": "seedbed_server.plugins:describe",
    "hardware": "seedbed_server.executors.hardware:probe",
    "libraries": "seedbed_server.checkup.libraries:look",
    "fingerprint": "seedbed_server.data.remote:take_fingerprint",
    "inspect": "seedbed_server.data.inspection:inspect",
    "check_job": "seedbed_server.search.check:check_job",
    "plan_job": "seedbed_server.search.planning:plan_job",
    "job_insights": "seedbed_server.search.insights:job_insights",
    "predict": "seedbed_server.serving.predictor:predict",
}


def pack(value: object) -> bytes:
    """Plain data as bytes; times must have a zone."""
    return bytes(msgpack.packb(value, datetime=True))


def unpack(data: bytes) -> Any:
    """The reverse of `pack`; times come back in UTC."""
    return msgpack.unpackb(data, timestamp=3, strict_map_key=False)


def answer_calls(
    table: Mapping[str, str], threads: int, requests: Connection, answers: Connection
) -> NoReturn:
    """Answers calls, one after the other, until the caller is gone; then ends the process.

    A request is `{"function", "payload"}`; an answer is `{"result"}` or `{"error"}`. A function is
    called with its payload, or without arguments where that is empty.
    """
    enter_child()
    logs.configure()
    limit_threads(threads)
    inbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox), name="inbox", daemon=True).start()
    while True:
        request = unpack(inbox.get())
        logs.bind_process(call=request["function"])
        answer = _answer(table, request["function"], request["payload"])
        try:
            answers.send_bytes(answer)
        except OSError:
            end_process_group()


def _receive(requests: Connection, inbox: SimpleQueue[bytes]) -> None:
    """A thread of its own, so that the process ends in the middle of a call when the caller is
    gone."""
    while True:
        try:
            inbox.put(requests.recv_bytes())
        except (EOFError, OSError):
            end_process_group()


def _answer(table: Mapping[str, str], function: str, payload: dict[str, Any]) -> bytes:
    try:
        module, name = table[function].split(":")
        call = getattr(import_module(module), name)
        return pack({"result": call(payload) if payload else call()})
    except SeedbedError as error:
        return pack({"error": error.to_dict()})
    except Exception as error:  # noqa: BLE001 - a stranger's code or file may raise anything
        log.error("call_failed", function=function, traceback=traceback.format_exc())
        text = f"internal error: {type(error).__name__}: {error}"
        return pack({"error": SeedbedError(text).to_dict()})
