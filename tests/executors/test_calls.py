"""Calls into other processes: their answers, their errors, their deaths."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from seedbed_sdk.errors import InvalidArgument, SeedbedError, Unavailable
from seedbed_server.errors import OutOfTime
from seedbed_server.executors.call_pool import CallPool
from seedbed_server.executors.calls import CALLS as BUILT_IN
from tests.conftest import eventually


def call(
    pool: CallPool, function: str, payload: Mapping[str, Any], timeout: float = 20.0
) -> dict[str, Any]:
    return asyncio.run(pool.call(function, payload, timeout=timeout))


def test_data_crosses_with_its_types(pool: CallPool) -> None:
    payload = {
        "text": "é",
        "bytes": b"\x00\xff",
        "int": -(2**63),
        "float": 0.1,
        "none": None,
        "list": [True, {"a": []}],
        "time": datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=UTC),
        "large": b"x" * 5_000_000,
    }
    answer = call(pool, "echo", payload)
    assert answer.pop("pid") != os.getpid()
    assert answer == payload


def test_each_call_has_a_process_of_its_own_that_ends(pool: CallPool) -> None:
    pids = [call(pool, "echo", {"n": n})["pid"] for n in range(2)]
    assert len(set(pids)) == 2
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_calls_run_at_the_same_time(pool: CallPool, tmp_path: Path) -> None:
    async def both() -> None:
        slow = asyncio.create_task(
            pool.call("sleep", {"file": str(tmp_path / "f"), "seconds": 60}, timeout=60)
        )
        answer = await pool.call("echo", {"n": 1}, timeout=20)
        assert answer["n"] == 1
        assert not slow.done()
        slow.cancel()

    asyncio.run(both())


def test_errors_cross_as_what_they_are(pool: CallPool) -> None:
    with pytest.raises(InvalidArgument) as raised:
        call(pool, "check_job", {"target": "missing"})
    assert raised.value.violations[0].field == "job.target"


def test_a_bug_is_an_internal_error_without_a_traceback(pool: CallPool, capfd: Any) -> None:
    with pytest.raises(SeedbedError) as raised:
        call(pool, "bug", {"key": "k"})
    assert (raised.value.code, raised.value.message) == (
        "INTERNAL",
        "internal error: KeyError: 'k'",
    )


@pytest.mark.parametrize(("function", "kind"), [("die", Unavailable), ("inspect", InvalidArgument)])
def test_a_process_that_dies_says_how(
    pool: CallPool, function: str, kind: type[SeedbedError]
) -> None:
    payload = {"signal": signal.SIGSEGV, "target": "crash"}
    with pytest.raises(kind, match=r"killed by signal 11 \(SIGSEGV\)"):
        call(pool, function, payload)


def test_a_call_is_ended_at_its_time_limit(pool: CallPool, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(OutOfTime, match=r"sleep was ended after 1 s"):
        call(pool, "sleep", {"file": str(file), "seconds": 60}, timeout=1.0)
    assert eventually(lambda: not psutil.pid_exists(int(file.read_text())))


def test_a_caller_that_goes_takes_its_process_along(pool: CallPool, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    async def leave() -> None:
        task = asyncio.create_task(
            pool.call("sleep", {"file": str(file), "seconds": 60}, timeout=60)
        )
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert eventually(lambda: not psutil.pid_exists(int(file.read_text())))


def test_the_serving_process_lasts_and_is_replaced(pool: CallPool, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{}")

    def predict(value: Any) -> str:
        payload = {"bundle": str(tmp_path), "examples": [{"a": value}]}
        return str(call(pool, "predict", payload)["predictions"][0]["label"])

    first = predict(1)
    assert predict(1) == first
    with pytest.raises(InvalidArgument):
        call(pool, "predict", {"bundle": str(tmp_path), "examples": [{"b": 1}]})
    assert predict(1) == first
    with pytest.raises(Unavailable, match="the process that serves predictions died"):
        predict("die")
    assert predict(1) != first


def test_the_built_in_functions_are_there() -> None:
    from importlib import import_module

    for where in BUILT_IN.values():
        module, function = where.split(":")
        assert callable(getattr(import_module(module), function))
