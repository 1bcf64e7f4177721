"""What `data=` may be: a URI, a path, a dataset; and what the server is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seedbed import converters
from seedbed.connection import Connection
from seedbed.errors import InvalidArgument, NotFound, invalid
from seedbed.types import Dataset, Source
from seedbed.upload import upload
from seedbed.v1 import datasets_pb2

DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle"})


def resolve_sources(
    connection: Connection,
    data: str | Path | Dataset | Sequence[str | Path],
    split: str,
    field: str,
) -> list[Source]:
    """What a CreateDataset request would name, uploading what the server cannot read itself.

    A dataset is named by its name. Raises InvalidArgument naming `field` for a path that is not
    there.
    """
    if isinstance(data, str | Path | Dataset):
        return [Source(_locate(connection, data, field), split)]
    if not data:
        raise invalid(field, "is empty; give a file, a folder or a URI")
    fields = [field] if len(data) == 1 else [f"{field}[{i}]" for i in range(len(data))]
    return [
        Source(_locate(connection, item, name), split)
        for item, name in zip(data, fields, strict=True)
    ]


def with_tables(
    connection: Connection,
    sources: Sequence[Source],
    tables: Mapping[str, str | Path | Dataset],
    query: str,
) -> list[Source]:
    """The sources with the tables that describe something else than items, by role, and the query
    for those of them that are databases."""
    queried = [
        replace(source, query=query) if query and _is_database(source.uri) else source
        for source in sources
    ]
    if query and queried == list(sources):
        raise invalid("query", "is for databases, and no source is one, such as sqlite:///file.db")
    return queried + [
        Source(_locate(connection, item, f"tables[{role!r}]"), role=role)
        for role, item in tables.items()
    ]


def _is_database(uri: str) -> bool:
    return uri.partition("://")[0].partition("+")[0] in DATABASES


def _locate(connection: Connection, item: str | Path | Dataset, field: str) -> str:
    """The URI or dataset name that the server will find the data by."""
    if isinstance(item, Dataset):
        return item.name
    text = str(item)
    if not text:
        raise invalid(field, "is empty; give a file, a folder or a URI")
    if isinstance(item, str) and (scheme := text.partition("://")[0]) != text:
        if scheme != "file":
            return text
        return _locate_path(connection, Path(text.removeprefix("file://")), field)
    if isinstance(item, str) and text.startswith("projects/"):
        return text
    return _locate_path(connection, Path(text).expanduser(), field, text)


def _locate_path(connection: Connection, path: Path, field: str, given: str = "") -> str:
    if path.exists():
        if _readable_by_server(connection, path):
            return str(path.absolute())
        return upload(connection, path).name
    if path.is_absolute() and connection.embedded is None:
        # Not on this machine, but it may be on the server's.
        return str(path)
    if given and len(path.parts) == 1 and (name := _find_dataset(connection, given)):
        return name
    raise invalid(field, f"there is no file, folder or dataset {given or str(path)!r}")


def _readable_by_server(connection: Connection, path: Path) -> bool:
    embedded = connection.embedded
    if embedded is None:
        return False
    real = path.resolve()
    return any(real.is_relative_to(root) for root in embedded.allowed_roots)


def _find_dataset(connection: Connection, name: str) -> str:
    """The full name of the dataset of that id; empty where there is none."""
    request = datasets_pb2.GetDatasetRequest(name=name)
    try:
        return converters.dataset(connection.call(lambda s: s.datasets.GetDataset, request)).name
    except (NotFound, InvalidArgument):
        return ""
