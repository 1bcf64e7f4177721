"""Messages to values: what was asked for, checked for form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.struct_pb2 import Value as StructValue

from seedbed.v1 import datasets_pb2, jobs_pb2, tasks_pb2
from seedbed_sdk.dataset import LAYOUTS
from seedbed_sdk.errors import FieldViolation, InvalidArgument
from seedbed_sdk.space import Choices, Domain, FloatRange, IntRange
from seedbed_server.api import names
from seedbed_server.data.references import DataSource
from seedbed_server.jobs.values import Budget, Constraints, JobState
from seedbed_server.store import DATASET_SCHEME, JobFilter, PageRequest, RequestKey

_ROLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COMPARISON = re.compile(r"""\s*([a-z_]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))\s*""")


def page_of(request: Any) -> PageRequest:
    """The paging fields that every list request has."""
    return PageRequest(request.page_size, request.page_token)


def request_key(request: Any, project: str, method: str) -> RequestKey | None:
    """What makes a create idempotent; None without a request id. Raises InvalidArgument."""
    request_id = names.check_request_id(request.request_id)
    if not request_id:
        return None
    content: Message = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    digest = hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()
    return RequestKey(project, request_id, method, digest)


def struct_to_dict(message: Struct) -> dict[str, Any]:
    """Plain data; whole numbers, which a Struct cannot hold, become ints again."""
    return {key: _plain(value) for key, value in message.fields.items()}


def _plain(value: StructValue) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return struct_to_dict(value.struct_value)
    if kind == "list_value":
        return [_plain(v) for v in value.list_value.values]
    if kind in (None, "null_value"):
        return None
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= 2**53 else number
    return getattr(value, kind)


def domain_from_message(message: tasks_pb2.Domain) -> Domain | None:
    """None where no kind is set."""
    kind = message.WhichOneof("kind")
    if kind == "choices":
        return Choices(tuple(_plain(v) for v in message.choices.values))
    if kind == "float_range":
        floats = message.float_range
        return FloatRange(floats.low, floats.high, floats.log)
    if kind == "int_range":
        ints = message.int_range
        return IntRange(ints.low, ints.high, ints.log)
    return None


def search_space(job: jobs_pb2.Job) -> tuple[dict[str, Domain], list[FieldViolation]]:
    """The domains, and a violation for each that has no kind."""
    domains = {key: domain_from_message(d) for key, d in job.search_space.items()}
    problem = "is empty; set float_range, int_range or choices"
    violations = [
        FieldViolation(f'job.search_space["{k}"]', problem) for k, d in domains.items() if d is None
    ]
    return {k: d for k, d in domains.items() if d is not None}, violations


def budget_from_message(message: jobs_pb2.Budget) -> Budget:
    seconds = None
    if message.HasField("wall_clock"):
        seconds = message.wall_clock.seconds + message.wall_clock.nanos / 1e9
    return Budget(
        wall_clock_seconds=seconds,
        trials=message.trials if message.HasField("trials") else None,
        samples=message.samples if message.HasField("samples") else None,
        target_score=message.target_score if message.HasField("target_score") else None,
    )


def constraints_from_message(message: jobs_pb2.Constraints) -> Constraints:
    seconds = None
    if message.HasField("max_latency"):
        seconds = message.max_latency.seconds + message.max_latency.nanos / 1e9
    size = message.max_size_bytes if message.HasField("max_size_bytes") else None
    return Constraints(seconds, size)


def sources_from_messages(sources: Any, project: str) -> tuple[DataSource, ...]:
    """Sources as the store keeps them: datasets as `dataset:ID`. Raises InvalidArgument."""
    result = []
    for index, source in enumerate(sources):
        field = f"dataset.sources[{index}]"
        uri = source.uri
        if names.names_dataset(uri):
            owner, dataset_id = names.parse("datasets", uri, f"{field}.uri", project)
            if owner != project:
                raise InvalidArgument(
                    f"{field}.uri", f"{uri!r} is of another project than {project!r}"
                )
            uri = f"{DATASET_SCHEME}{dataset_id}"
        elif uri.startswith(DATASET_SCHEME):
            raise InvalidArgument(
                f"{field}.uri", f"{uri!r} is not a URI; write datasets/ID for a dataset"
            )
        if source.split not in datasets_pb2.DataSource.Split.values():
            raise InvalidArgument(f"{field}.split", f"there is no split number {source.split}")
        split = datasets_pb2.DataSource.Split.Name(source.split)
        named = "" if split == "SPLIT_UNSPECIFIED" else split.lower()
        result.append(DataSource(uri, named, _role(source.role, f"{field}.role"), source.query))
    return tuple(result)


def layout(name: str) -> str:
    """What the data is to be read as; empty lets it decide. Raises InvalidArgument."""
    if name and name not in LAYOUTS:
        raise InvalidArgument(
            "dataset.layout", f"{name!r} is no layout; there are {', '.join(LAYOUTS)}"
        )
    return name


def _role(role: str, field: str) -> str:
    if role and not _ROLE.fullmatch(role):
        raise InvalidArgument(
            field,
            f"{role!r} is no role; it has at most 63 of a-z, 0-9 and _ and starts with a letter, "
            "such as items, users or legend",
        )
    return role


def job_filter(text: str) -> JobFilter:
    """Comparisons with `=` joined by `AND`, on state, task and dataset. Raises InvalidArgument."""
    if not text.strip():
        return JobFilter()
    wanted: dict[str, str] = {}
    for part in re.split(r"\s+AND\s+", text.strip()):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            raise _bad_filter(f"cannot read {part!r}")
        key, value = match[1], match[2] or match[3] or match[4] or ""
        if key in wanted:
            raise _bad_filter(f"{key!r} is compared twice")
        wanted[key] = value
    return _checked_filter(wanted)


def _checked_filter(wanted: Mapping[str, str]) -> JobFilter:
    fields = dict(wanted)
    unknown = sorted(set(fields) - {"state", "task", "dataset"})
    if unknown:
        raise _bad_filter(f"jobs cannot be filtered by {unknown[0]!r}")
    if "state" in fields and fields["state"] not in set(JobState):
        raise _bad_filter(
            f"there is no state {fields['state']!r}; there are: {', '.join(JobState)}"
        )
    if "task" in fields:
        fields["task"] = names.parse_task(fields["task"], "filter")
    if "dataset" in fields:
        fields["dataset"] = names.parse("datasets", fields["dataset"], "filter")[1]
    return JobFilter(**fields)


def _bad_filter(problem: str) -> InvalidArgument:
    return InvalidArgument(
        "filter",
        f"{problem}; write `state = SUCCEEDED`, `task = NAME`, `dataset = NAME`, "
        "or several of them joined by ` AND `",
    )
