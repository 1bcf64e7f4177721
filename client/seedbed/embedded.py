"""A server of one's own: found by its data directory, or started there as a subprocess."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc

from seedbed.errors import FailedPrecondition, SeedbedError, Unavailable

# sockaddr_un holds 104 bytes on some systems, and the path needs its final NUL.
_LONGEST_SOCKET_PATH = 100
_IDLE_EXIT_SECONDS = 60
_LOG_TAIL_LINES = 15
_RIVAL_SECONDS = 15.0
# The user's own server on the user's own machine may read what the user may.
_SCHEMES = ("https", "http", "s3", "gs", "sqlite")
# What the server says where another one holds the directory.
_IN_USE = "is in use by a seedbed server"


class _DirectoryTaken(FailedPrecondition):
    """Another server holds the data directory."""


@dataclass(frozen=True, slots=True)
class ServerFile:
    """What `DATA_DIR/server.json` says of the server that holds the directory."""

    address: str
    pid: int
    allowed_roots: tuple[Path, ...]
    version: str


def read_server_file(data_dir: Path) -> ServerFile | None:
    """None where there is no such file, or one that is no use."""
    try:
        data: Mapping[str, Any] = json.loads((data_dir / "server.json").read_text())
        return ServerFile(
            address=str(data["address"]),
            pid=int(data["pid"]),
            allowed_roots=tuple(Path(root) for root in data.get("allowed_roots", ())),
            version=str(data.get("version", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_serving(address: str, timeout: float) -> bool:
    """Whether a server there says that it is healthy, within `timeout` seconds."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check: Callable[..., bytes] = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        try:
            # Field 1, varint, 1: SERVING.
            return check(b"", timeout=timeout) == b"\x08\x01"
        except grpc.RpcError:
            return False


def process_exists(pid: int) -> bool:
    """Whether there is a process of that id, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class EmbeddedServer:
    """The server of a data directory. `ensure` finds or starts it, `close` lets it go.

    `started` is true while the server is one that this object started. `announce` is called with
    the data directory the first time that one is started.
    """

    def __init__(
        self, data_dir: Path, timeout: float, announce: Callable[[Path], None] | None = None
    ) -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self.timeout = timeout
        self.allowed_roots: tuple[Path, ...] = ()
        self._announce = announce
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0
        # Two threads of one client must not start two servers.
        self._lock = threading.Lock()

    @property
    def started(self) -> bool:
        """Whether the server is this object's own subprocess."""
        return self._process is not None

    def alive(self) -> bool:
        """Whether the server's process is there still; says nothing of its health."""
        if self._process is not None:
            return self._process.poll() is None
        return bool(self._pid) and process_exists(self._pid)

    def ensure(self) -> str:
        """The address of a running server, found or started.

        Raises FailedPrecondition with the end of the server's log where it cannot start, and
        Unavailable where it is not ready after `timeout` seconds.
        """
        with self._lock:
            self._drop_dead()
            deadline = time.monotonic() + _RIVAL_SECONDS
            while True:
                address = self._find(5.0)
                if address:
                    return address
                try:
                    return self._start()
                except _DirectoryTaken:
                    # By a server that another client is starting, or one that is just ending.
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.1)

    def _drop_dead(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def _find(self, timeout: float) -> str | None:
        found = read_server_file(self.data_dir)
        if found is None or not process_exists(found.pid):
            return None
        if not is_serving(found.address, timeout):
            return None
        self._pid = found.pid
        self.allowed_roots = found.allowed_roots
        return found.address

    def _start(self) -> str:
        if importlib.util.find_spec("seedbed_server") is None:
            raise FailedPrecondition(
                "no server was given, and the embedded one is not installed: "
                'pip install "seedbed[server]", or name a server with --server or SEEDBED_SERVER',
                "FAILED_PRECONDITION",
                "SERVER_NOT_INSTALLED",
            )
        self._make_data_dir()
        if self._announce is not None:
            self._announce(self.data_dir)
            self._announce = None
        socket = f"{self.data_dir}/server.sock"
        short = len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH
        command = [
            *(sys.executable, "-m", "seedbed_server"),
            *("--address", f"unix:{socket}" if short else "127.0.0.1:0"),
            *("--data-dir", str(self.data_dir)),
            *("--allow-root", "/"),
            *(part for scheme in _SCHEMES for part in ("--allow-scheme", scheme)),
            *("--idle-exit", str(_IDLE_EXIT_SECONDS)),
        ]
        log = self.data_dir / "server.log"
        with log.open("a") as stderr:
            log_start = stderr.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # Who calls is no business of the server's, nor of the plugins in it.
                env={k: v for k, v in os.environ.items() if k != "SEEDBED_TOKEN"},
                start_new_session=True,
            )
        return self._wait_until_ready(self._process, log, log_start)

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FailedPrecondition(
                f"the data directory {self.data_dir} cannot be made ({error.strerror}); choose "
                "another with --data-dir or SEEDBED_DATA_DIR",
                "FAILED_PRECONDITION",
                "DATA_DIR_UNUSABLE",
            ) from error

    def _wait_until_ready(self, process: subprocess.Popen[str], log: Path, log_start: int) -> str:
        deadline = time.monotonic() + self.timeout
        assert process.stdout is not None
        try:
            line = _read_line(process.stdout, deadline)
        except BaseException:
            # Ctrl-C while it starts: nobody would come back for it.
            self._abandon(process)
            raise
        if line:
            found = read_server_file(self.data_dir)
            if found is not None and found.pid == process.pid:
                self.allowed_roots = found.allowed_roots
            self._pid = process.pid
            return _address_in(line)
        exit_code = self._abandon(process)
        tail = _tail(log, log_start)
        if exit_code is None:
            raise Unavailable(
                f"the embedded server was not ready after {self.timeout:g} s; the end of {log}:\n"
                f"{tail}",
                "UNAVAILABLE",
            )
        kind = _DirectoryTaken if _IN_USE in tail else FailedPrecondition
        raise kind(
            f"the embedded server could not start (exit code {exit_code}); the end of {log}:\n"
            f"{tail}",
            "FAILED_PRECONDITION",
            "SERVER_START_FAILED",
        )

    def _abandon(self, process: subprocess.Popen[str]) -> int | None:
        """Ends a server that never got ready. None if it was running still."""
        exit_code = None
        try:
            # Its output ends a moment before it does.
            exit_code = process.wait(1)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
        return exit_code

    def close(self, wait: float) -> None:
        """Asks a server that this object started to exit once idle, and reaps it.

        Waits up to `wait` seconds for it; a server that has work left lives until that is done.
        """
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)
        if process.stdout is not None:
            process.stdout.close()
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            # Reaped whenever it ends, so that a long-lived caller keeps no zombie.
            threading.Thread(target=process.wait, daemon=True).start()


def _read_line(stream: IO[str], deadline: float) -> str:
    """The first line, or empty at the stream's end or the deadline."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if selector.select(max(0.0, deadline - time.monotonic())):
            # The server writes its line in one piece.
            return stream.readline()
    return ""


def _address_in(line: str) -> str:
    """From `seedbed 0.1.0 serving on ADDRESS, data in DIR`."""
    _, found, rest = line.partition(" serving on ")
    address, _, _ = rest.partition(", data in ")
    if not found or not address.strip():
        raise SeedbedError(f"the embedded server said {line.strip()!r} where it should be ready")
    return address.strip()


def _tail(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_TAIL_LINES:])
