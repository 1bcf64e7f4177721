"""Leases: granted, renewed, run out, and what becomes of the job then."""

from __future__ import annotations

import threading

import pytest

from seedbed_server.errors import LeaseLost
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import JobState, Log, Trial, TrialState
from seedbed_server.store import Holder, Store
from tests.store.values import with_job

FIRST = Holder("first", "here", 60.0)
SECOND = Holder("second", "there", 60.0)
# A lease that has run out when it begins.
BRIEF = Holder("brief", "here", -1.0)


def test_a_lease_is_held_until_the_job_leaves_its_worker(store: Store) -> None:
    with_job(store)
    job = store.jobs.lease(FIRST)
    assert job is not None
    assert store.leases.renew(FIRST, {"job1": 1, "none": 1}) == {"job1"}
    assert store.leases.renew(SECOND, {"job1": 1}) == set()
    assert store.leases.renew(FIRST, {"job1": 2}) == set()
    assert store.leases.requeue_expired("gone") == []
    with store.jobs.writing("job1", attempt=1) as writer:
        writer.set_state(JobState.SUCCEEDED)
    assert store.leases.renew(FIRST, {"job1": 1}) == set()
    assert not store.leases.any()


def test_a_lease_that_ran_out_gives_the_job_to_another(store: Store) -> None:
    with_job(store)
    assert store.jobs.lease(BRIEF) is not None
    late = JobSession(store, "job1", 1)
    late.start_trial(Trial(0, "line", {}))
    assert store.leases.requeue_expired("the server was stopped") == ["job1"]
    assert store.leases.requeue_expired("the server was stopped") == []
    (trial,) = store.trials.list("job1")
    assert (trial.state, trial.reason) == (TrialState.FAILED, "the server was stopped")
    logs = [e.body.message for e in store.events.after("job1", 0, 99) if isinstance(e.body, Log)]
    assert logs == [
        "the server or the worker that was at work on the job was not heard of any more"
    ]
    again = store.jobs.lease(SECOND)
    assert again is not None and again.attempt == 3
    events = store.jobs.get("job1").last_sequence
    for write in (late.require_lease, lambda: late.log("INFO", "late"), late.cancel):
        with pytest.raises(LeaseLost, match="no longer held by attempt 1: attempt 3 does"):
            write()
    assert store.jobs.get("job1").last_sequence == events


def test_a_lease_that_ran_out_and_nobody_took_is_renewed(store: Store) -> None:
    with_job(store)
    store.jobs.lease(BRIEF)
    assert store.leases.renew(Holder("brief", "here", 60.0), {"job1": 1}) == {"job1"}
    assert store.leases.requeue_expired("gone") == []


def test_the_lease_of_a_paused_worker_runs_out(store: Store) -> None:
    with_job(store)
    store.jobs.lease(BRIEF)
    assert store.leases.renew(FIRST, {"job1": 1}, paused=["job1"]) == set()
    longer = Holder("brief", "here", 60.0)
    assert store.leases.renew(longer, {"job1": 1}, paused=["job1"]) == {"job1"}
    assert store.leases.requeue_expired("gone") == ["job1"]


def test_only_what_was_at_work_in_one_place_is_given_back(store: Store) -> None:
    for number, holder in enumerate((FIRST, SECOND)):
        with_job(store, f"job{number}")
        assert store.jobs.lease(holder) is not None
    assert store.leases.requeue_all("stopped", owner="first") == ["job0"]
    assert store.leases.requeue_all("stopped", host="here") == []
    assert store.leases.requeue_all("stopped", host="there") == ["job1"]
    assert {store.jobs.get(f"job{n}").state for n in range(2)} == {JobState.QUEUED}


def test_servers_that_take_jobs_at_once_take_each_only_once(store: Store) -> None:
    for number in range(24):
        with_job(store, f"job{number:02}")
    taken: list[str] = []

    def take(holder: Holder) -> None:
        while (job := store.jobs.lease(holder)) is not None:
            taken.append(job.id)

    servers = [threading.Thread(target=take, args=(Holder(f"s{n}", "h"),)) for n in range(4)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    assert sorted(taken) == [f"job{number:02}" for number in range(24)]
