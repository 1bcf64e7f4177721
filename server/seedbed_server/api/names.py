"""Resource names, parsed and printed here and nowhere else."""

from __future__ import annotations

import re
import uuid

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api import access
from seedbed_server.tokens import is_project

_ID = re.compile(r"[a-z][a-z0-9-]{3,62}")
_UPLOAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SHOWN = 80


def job(project: str, job_id: str) -> str:
    return f"projects/{project}/jobs/{job_id}"


def trial(project: str, job_id: str, number: int) -> str:
    return f"projects/{project}/jobs/{job_id}/trials/{number}"


def dataset(project: str, dataset_id: str) -> str:
    return f"projects/{project}/datasets/{dataset_id}"


def model(project: str, model_id: str) -> str:
    return f"projects/{project}/models/{model_id}"


def task(name: str) -> str:
    return f"tasks/{name}"


def parse(collection: str, name: str, field: str, project: str = "") -> tuple[str, str]:
    """The project and the id in `projects/P/COLLECTION/ID`, `COLLECTION/ID` or the short `ID`.

    Without a project in it `project` is meant, or else the caller's own. Raises InvalidArgument
    with `field` for anything else, PermissionDenied for a project that is not the caller's.
    """
    caller = access.caller()
    project = project or caller.own_project
    example = f"projects/{project}/{collection}/ID"
    if not name:
        raise InvalidArgument(field, f"is required; give a name such as {example}, or the short id")
    parts = name.split("/")
    if len(parts) == 4 and parts[0] == "projects":
        project, parts = parts[1], parts[2:]
    if len(parts) == 2:
        if parts[0] != collection:
            raise InvalidArgument(
                field,
                f"{name[:_SHOWN]!r} names one of {parts[0]!r}; it takes one of {collection!r}",
            )
        parts = parts[1:]
    if len(parts) != 1 or not _ID.fullmatch(parts[0]) or not is_project(project):
        raise InvalidArgument(
            field, f"{name[:_SHOWN]!r} is not a name such as {example}, nor a short id"
        )
    caller.require_project(project, field)
    return project, parts[0]


def parse_task(name: str, field: str) -> str:
    """The task in `tasks/TASK` or the short `TASK`. Raises InvalidArgument with `field`."""
    short = name.removeprefix("tasks/")
    if not short:
        raise InvalidArgument(field, "is required; ListTasks says which there are")
    if "/" in short:
        raise InvalidArgument(field, f"{name[:_SHOWN]!r} is not of the form tasks/TASK, nor short")
    return short


def parse_parent(parent: str, field: str = "parent") -> str:
    """The project in `projects/P`; the caller's own where it is empty. Raises InvalidArgument, and
    PermissionDenied for a project that is not the caller's."""
    caller = access.caller()
    if not parent:
        return caller.own_project
    parts = parent.split("/")
    if len(parts) != 2 or parts[0] != "projects" or not is_project(parts[1]):
        raise InvalidArgument(
            field, f"{parent[:_SHOWN]!r} is not of the form projects/PROJECT; it may be empty"
        )
    caller.require_project(parts[1], field)
    return parts[1]


def names_dataset(uri: str) -> bool:
    """Whether a data source's URI is the name of a dataset."""
    parts = uri.split("/")
    return (len(parts) == 4 and parts[0] == "projects" and parts[2] == "datasets") or (
        len(parts) == 2 and parts[0] == "datasets"
    )


def check_id(value: str, field: str) -> str:
    """An id that the caller chose. Raises InvalidArgument."""
    if not _ID.fullmatch(value):
        raise InvalidArgument(
            field,
            f"{value[:_SHOWN]!r} will not do: 4 to 63 of a-z, 0-9 and '-', starting with a letter",
        )
    return value


def check_upload_id(value: str) -> str:
    """An upload's id. Raises InvalidArgument."""
    if not _UPLOAD.fullmatch(value):
        raise InvalidArgument(
            "header.upload_id",
            f"{value[:_SHOWN]!r} will not do: 1 to 63 letters, digits, '-' and '_'",
        )
    return value


def check_request_id(value: str) -> str:
    """A request id in its canonical form, or empty. Raises InvalidArgument."""
    if not value:
        return ""
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise InvalidArgument(
            "request_id",
            f"{value[:_SHOWN]!r} is not a UUID such as 123e4567-e89b-42d3-a456-426614174000",
        ) from error
