"""Structured logs on standard error, for the API process and its workers alike.

One line an event, `key=value` for a terminal and JSON elsewhere. What plugins and libraries say by
`logging`, warnings, and exceptions that nobody has caught become such lines too.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any, TextIO

import structlog

log = structlog.get_logger()

# These tell at INFO what only their authors want to know.
_TALKATIVE = ("alembic", "asyncio", "fsspec", "matplotlib", "numexpr", "urllib3")

_of_process: dict[str, Any] = {}


def configure() -> None:
    """Sets up all logging of this process; anything at INFO or above is written."""
    terminal = sys.stderr.isatty()
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*common, *last],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.showwarning = _show_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def bind_process(**values: Any) -> None:
    """Adds values to every further line of this process, whichever thread writes it; None takes
    one away. For what a process as a whole is at work on; contextvars say more, and go first."""
    for name, value in values.items():
        if value is None:
            _of_process.pop(name, None)
        else:
            _of_process[name] = value


def _add_process(
    logger: Any,  # noqa: ARG001
    method: str,  # noqa: ARG001
    event: structlog.typing.EventDict,
) -> structlog.typing.EventDict:
    for name, value in _of_process.items():
        if not (name == "trials" and "trial" in event):
            event.setdefault(name, value)
    return event


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if file is not None:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    where = f"{filename}:{lineno}"
    log.warning("python_warning", category=category.__name__, text=str(message), where=where)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    log.critical("uncaught_exception", traceback=text)


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if issubclass(arguments.exc_type, SystemExit):
        return
    name = arguments.thread.name if arguments.thread else ""
    raised = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    text = "".join(traceback.format_exception(*raised))
    log.error("uncaught_exception_in_thread", thread=name, traceback=text)
