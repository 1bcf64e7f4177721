"""The process that works on one job."""

from __future__ import annotations

import traceback
from importlib import import_module
from multiprocessing.connection import Connection

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server import logs
from seedbed_server.errors import LeaseLost, ProcessSpoiled
from seedbed_server.executors.assignment import Assignment, Control
from seedbed_server.executors.memory import limit_memory_to_available
from seedbed_server.executors.processes import SPOILED, enter_child, leave_child, limit_threads
from seedbed_server.jobs.session import JobSession
from seedbed_server.store import WORKER_PATIENCE, Store, TryAgain
from seedbed_server.telemetry import at_work, tracing

log = structlog.get_logger()


def work(assignment: Assignment, driver: str, orders: Connection, notices: Connection) -> None:
    """Runs the driver for one attempt, in a fresh child process, and ends the process.

    `driver` is `module:function`, called with the assignment and a Control. Whatever it raises
    becomes the job's error.
    """
    enter_child()
    logs.configure()
    logs.bind_process(job=assignment.job_id, attempt=assignment.attempt)
    control = Control(orders, notices)
    limit_threads(assignment.threads)
    if assignment.device == "cpu":
        limit_memory_to_available()
    store = Store(assignment.database_url, patience=WORKER_PATIENCE)
    session = JobSession(store, assignment.job_id, assignment.attempt, control.notify)
    # Only now, since it has a thread of its own, which a fork would have lost.
    traces = tracing.start()
    status = 0
    try:
        at_work.begin(session.job(), assignment.device, traces)
        _run(assignment, driver, control, session)
    except LeaseLost as error:
        log.info("lease_lost", why=error.message)
    except ProcessSpoiled as error:
        log.warning("worker_spoiled", why=str(error))
        status = SPOILED
    except Exception:  # noqa: BLE001 - the database cannot be written; the parent takes it from here
        log.error("worker_failed", traceback=traceback.format_exc())
        status = 1
    control.notify()
    at_work.current().end("INTERRUPTED")
    traces.close()
    store.close()
    leave_child(status)


def _run(assignment: Assignment, driver: str, control: Control, session: JobSession) -> None:
    if session.job().stop_requested:
        control.request_stop()
    try:
        module, function = driver.split(":")
        getattr(import_module(module), function)(assignment, control)
    except (LeaseLost, TryAgain):
        # Nor is a database that stays away the job's fault, which goes on in another worker.
        raise
    except ProcessSpoiled as error:
        session.log("WARNING", f"{error}; the job goes on in another process")
        raise
    except SeedbedError as error:
        log.warning("job_failed", reason=error.reason, why=error.message)
        session.fail(error)
    except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
        log.error("job_failed", traceback=traceback.format_exc())
        session.fail(internal_error("internal error in the worker", error))
    else:
        if not session.job().state.ended:
            session.fail(
                SeedbedError(f"{driver} returned without ending the job", reason="INTERNAL")
            )


def internal_error(where: str, error: BaseException) -> SeedbedError:
    """An unforeseen exception as an error that may be shown: its type and text, no traceback."""
    return SeedbedError(f"{where}: {type(error).__name__}: {error}")
