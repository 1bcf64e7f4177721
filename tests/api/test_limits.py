"""How often callers may call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

import seedbed
from seedbed.v1 import tasks_pb2
from seedbed_server.api.limits import MOST_CALLERS, RateLimits
from seedbed_server.errors import RateLimited
from tests.api.harness import Refusal, launch


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def passed(limits: RateLimits, who: str, calls: int = 1000) -> int:
    """How many of so many calls are let through."""
    for count in range(calls):
        try:
            limits.take(who)
        except RateLimited:
            return count
    return calls


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    limits = RateLimits(10.0, clock=clock)
    assert passed(limits, "a") == 50
    assert passed(limits, "b") == 50, "others have their own"
    with pytest.raises(RateLimited) as caught:
        limits.take("a")
    assert caught.value.retry_seconds == pytest.approx(0.1)
    assert caught.value.message == (
        "too many calls: this server takes 10 a second from one caller; call again in 0.10 s"
    )
    clock.seconds += caught.value.retry_seconds
    assert passed(limits, "a") == 1
    clock.seconds += 2
    assert passed(limits, "a") == 20
    clock.seconds += 1000
    assert passed(limits, "a") == 50


def test_less_than_one_a_second_is_a_rate_too_and_0_is_no_limit() -> None:
    clock = Clock()
    limits = RateLimits(0.1, clock=clock)
    assert passed(limits, "a") == 1
    clock.seconds += 10.001
    assert passed(limits, "a") == 1
    assert passed(RateLimits(0.0, clock=clock), "a") == 1000


def test_many_callers_take_bounded_memory() -> None:
    clock = Clock()
    limits = RateLimits(10.0, clock=clock)
    assert passed(limits, "busy") == 50
    for number in range(3 * MOST_CALLERS):
        limits.take(str(number))
        clock.seconds += 1e-7
        assert len(limits._buckets) <= MOST_CALLERS
    assert passed(limits, "busy") == 0, "whoever has used most is not forgotten"


def test_the_server_says_when_to_call_again_and_the_client_does(tmp_path: Path) -> None:
    with launch(tmp_path / "data", "--rate-limit", "1") as server:
        request = tasks_pb2.ListTasksRequest()
        calls = [server.tasks.ListTasks.future(request, timeout=60) for _ in range(60)]
        errors: list[Any] = [error for call in calls if (error := call.exception())]
        assert errors, "all 60 came within the rate"
        refusal = Refusal(errors[0])
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "RATE_LIMITED",
        )
        assert refusal.retry_seconds is not None
        assert 0 < refusal.retry_seconds <= 1
        with seedbed.connect(server.address) as client:
            assert [len(client.tasks()) for _ in range(3)] == [2, 2, 2]
