"""Child processes, forked from the fork server: started, awaited and killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, NoReturn

import psutil

from seedbed_server.executors.memory import go_first_out_of_memory

# The status of a worker that could not go on, although its job can.
SPOILED = 70

_context: ForkServerContext = multiprocessing.get_context("forkserver")
# The module that starts processes keeps state that is not safe for threads.
_starting = threading.Lock()
_ending = threading.Event()


def start_fork_server(preload: Sequence[str]) -> None:
    """Starts the fork server, which then imports `preload` on its own time.

    Must come before any gRPC object exists: it is started once, and all children come from it.
    """
    _context.set_forkserver_preload(list(preload))
    forkserver.ensure_running()


def end_children(seconds: float = 5.0) -> None:
    """Ends every process that this one started, for good: no other is started after it."""
    _ending.set()
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=seconds)


def pipe() -> tuple[Any, Any]:
    """A one-way pipe: the end to receive from, the end to send to."""
    return _context.Pipe(duplex=False)


class Child:
    """A process forked from the fork server. Not for several threads at once, `kill` excepted."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid: int = process.pid
        self._ended = False

    @classmethod
    def start(cls, name: str, target: Callable[..., None], *args: Any) -> Child:
        """Forks; blocks until the fork server has loaded its libraries. The caller closes its own
        copies of the connections among `args`. Raises OSError where there can be no process."""
        with _starting:
            if _ending.is_set():
                # A start would bring the fork server back to life.
                raise OSError("the server is ending")
            process = _context.Process(target=target, args=args, name=name)
            process.start()
        return cls(process)

    @property
    def sentinel(self) -> int:
        """A file that becomes readable when the process has ended."""
        return self._process.sentinel

    def kill(self) -> None:
        """Ends the process and those it started, at once."""
        # The group is there only once the child has made it, and outlives the child where what it
        # started does. The child's own number may be another process's once it was awaited.
        for kill in (os.killpg,) if self._ended else (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)

    def join(self, timeout: float | None = None) -> int | None:
        """Waits for the end; the exit status, or minus the signal's number, or None if it lives."""
        self._process.join(timeout)
        status = self._process.exitcode
        self._ended = status is not None
        return status

    def close(self) -> None:
        """Frees what the process held here; after its end, which it makes sure of."""
        self.kill()
        self.join(1)
        with suppress(ValueError):
            self._process.close()


def enter_child() -> None:
    """First thing in a child: its own process group, and signals as in a fresh process.

    A Ctrl-C at the server's terminal is for the server, which ends its children in order.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    go_first_out_of_memory()


def leave_child(status: int) -> NoReturn:
    """Last thing in a child: ends it whatever threads its libraries left behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def limit_threads(threads: int) -> None:
    """Holds the numeric libraries, loaded or not, to a number of threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(threads)


def describe_exit(status: int | None) -> str:
    """How a process ended, for people."""
    if status is None:
        return "it does not answer"
    if status == -signal.SIGKILL:
        return "killed by signal 9 (out of memory?)"
    if status == SPOILED:
        return "it was given up, since a trial had left it unusable"
    if status < 0:
        try:
            return f"killed by signal {-status} ({signal.Signals(-status).name})"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exited with status {status}"
