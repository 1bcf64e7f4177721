"""What a worker is told: its job when it starts, and what the user wants while it works."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from seedbed_server.data.references import Policy

STOP = b"stop"
CANCEL = b"cancel"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt at a job. `threads` is what the job may use on the CPU; `device` is a torch
    device such as `cpu` or `cuda:0`."""

    job_id: str
    attempt: int
    database_url: str = field(repr=False)
    data_dir: Path
    threads: int
    device: str
    policy: Policy


class Control:
    """The worker's end of its lines to the API process.

    When the API process is gone, however it went, this process ends at once with its children:
    there is nobody left to work for, and the next server leases the job again.
    """

    def __init__(self, orders: Connection, notices: Connection) -> None:
        self._orders = orders
        self._notices = notices.fileno()
        # Keeps the connection, whose end would close the file.
        self._notices_connection = notices
        self._stop = threading.Event()
        self._cancel = threading.Event()
        os.set_blocking(self._notices, False)
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    def stop_requested(self) -> bool:
        """Whether the user wants the search to end now, keeping the best so far."""
        return self._stop.is_set()

    def cancelled(self) -> bool:
        """Whether the job is cancelled; the process is killed within the second."""
        return self._cancel.is_set()

    def request_stop(self) -> None:
        """As if the API process had sent it: for a stop that was asked for before the start."""
        self._stop.set()

    def notify(self) -> None:
        """Wakes those who watch the job. Never blocks and never fails."""
        try:
            os.write(self._notices, b"\0")
        except BlockingIOError:
            # The pipe is full of notices that were not read yet; one of them is as good as this.
            return
        except BrokenPipeError:
            end_process_group()

    def _listen(self) -> None:
        while True:
            try:
                order = self._orders.recv_bytes()
            except (EOFError, OSError):
                end_process_group()
            if order == STOP:
                self._stop.set()
            elif order == CANCEL:
                self._cancel.set()


def end_process_group() -> NoReturn:
    """Ends this process and those it started, without any clean-up."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
