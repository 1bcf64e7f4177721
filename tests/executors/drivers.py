"""A tiny job driver for tests: it trains nothing and writes real rows from a real worker process.

What it does follows the job's option `mode`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

from seedbed_sdk.errors import FailedPrecondition
from seedbed_server.executors import Assignment, Control
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import (
    BestChanged,
    EpochFinished,
    Finding,
    InputField,
    JobState,
    Model,
    Progress,
    Score,
    StopReason,
    Trial,
    TrialState,
)
from seedbed_server.store import WORKER_PATIENCE, Files, Store

SAMPLES = 100


def run_job(assignment: Assignment, control: Control) -> None:
    """Dispatches on the mode."""
    store = Store(assignment.database_url, patience=WORKER_PATIENCE)
    session = JobSession(store, assignment.job_id, assignment.attempt, control.notify)
    mode = session.job().options.get("mode", "ok")
    if mode == "raise":
        raise ValueError("a bug")
    if mode == "refuse":
        raise FailedPrecondition("the dataset changed since the job was created", reason="CHANGED")
    if mode == "nothing":
        return
    session.set_state(JobState.SEARCHING)
    session.set_findings([Finding("WARNING", "constant_column", "column a is constant", "a")])
    first = len(session.trials())
    if mode == "die" or (mode == "die_once" and assignment.attempt == 1):
        if mode == "die_once":
            if first == 0:
                _train(session, first)
                first += 1
            session.start_trial(_trial(first))
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "hang":
        _hang(session, assignment)
    if mode == "wait":
        _train(session, first)
        session.start_trial(_trial(first + 1))
        while not control.stop_requested():
            time.sleep(0.01)
        if not session.job().options.get("keep", True):
            session.cancel()
            return
        session.finish_trial(
            replace(_trial(first + 1), state=TrialState.FAILED, reason="stopped"),
            samples_total=SAMPLES,
        )
        _publish(session, assignment, StopReason.USER)
        return
    if mode == "steady":
        number = first
        while not control.stop_requested():
            _train(session, number)
            number += 1
            time.sleep(0.05)
        _publish(session, assignment, StopReason.USER)
        return
    for number in range(first, session.job().budget.trials or 1):
        _train(session, number, epochs=int(session.job().options.get("epochs", 2)))
    _publish(session, assignment, StopReason.TRIAL_BUDGET)


def _trial(number: int) -> Trial:
    return Trial(number, "line", {"learning_rate": 0.1 * (number + 1)}, baseline=number == 0)


def _train(session: JobSession, number: int, epochs: int = 2) -> None:
    trial = _trial(number)
    session.start_trial(trial)
    scores = [0.5 + 0.1 * number + 0.01 * epoch for epoch in range(epochs)]
    session.report_epochs(
        [
            EpochFinished(number, i + 1, epochs, score, SAMPLES * (i + 1) // epochs, 1.0 / (i + 1))
            for i, score in enumerate(scores)
        ]
    )
    session.finish_trial(
        replace(
            trial,
            state=TrialState.COMPLETE,
            validation_score=scores[-1],
            epoch_scores=tuple(scores),
            epochs=epochs,
            samples=SAMPLES,
            seconds=0.1,
        ),
        samples_total=SAMPLES * (number + 1),
    )
    session.set_best(
        BestChanged(number, "line", scores[-1]), Score("accuracy", scores[-1], item_count=20)
    )
    session.set_progress(Progress(0.5, 1.0, f"trial {number} done"))


def _hang(session: JobSession, assignment: Assignment) -> None:
    """Neither stops nor ends, and has a child of its own; their ids are in the scratch folder."""
    session.start_trial(_trial(0))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    scratch = Files(assignment.data_dir).cache / "pids"
    scratch.with_suffix(".tmp").write_text(f"{os.getpid()} {child.pid}")
    scratch.with_suffix(".tmp").rename(scratch)
    session.log("INFO", "hanging")
    while True:
        time.sleep(60)


def _publish(session: JobSession, assignment: Assignment, reason: StopReason) -> None:
    session.set_state(JobState.FINISHING)
    job = session.job()
    with Files(assignment.data_dir).new_model_folder(job.id) as folder:
        (folder.path / "bundle.json").write_text('{"kind": "tiny"}')
        (folder.path / "weights").mkdir()
        (folder.path / "weights" / "line.bin").write_bytes(bytes(range(256)) * 8192)
        name, size = folder.publish()
    validation = Score("accuracy", 0.8, item_count=20, lower=0.7, upper=0.9, confidence=0.95)
    model = Model(
        id=name,
        project=job.project,
        task=job.task,
        job=job.id,
        trial=0,
        architecture="line",
        parameters={"learning_rate": 0.1},
        inputs=(InputField("a", "numeric"),),
        folder=name,
        create_time=datetime.now(UTC),
        display_name=job.display_name,
        target=job.target,
        classes=("no", "yes"),
        validation_score=validation,
        test_score=replace(validation, value=0.75),
        dataset_fingerprint=job.dataset_fingerprint,
        size_bytes=size,
    )
    session.succeed(model, reason, validation, replace(validation, value=0.75))
