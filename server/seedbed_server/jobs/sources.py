"""Where a dataset's data really lies: references to other datasets followed to files and URIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from seedbed_server.data.references import DataSource
from seedbed_server.store import DATASET_SCHEME, Dataset, Files, Store


def sources_of(dataset: Dataset, store: Store, files: Files) -> tuple[DataSource, ...]:
    """The sources of a dataset that name no dataset; an uploaded one has its file's path.

    Raises NotFound for a reference to a dataset that was deleted.
    """
    if dataset.upload_file:
        return (DataSource(str(files.uploaded(dataset.id, dataset.upload_file))),)
    return expand(dataset.sources, dataset.project, store, files)


def payload_of(sources: Sequence[DataSource], layout: str = "") -> dict[str, Any]:
    """Sources and layout as msgpack carries them to a call process."""
    return {"sources": [asdict(source) for source in sources], "layout": layout}


def expand(
    sources: Sequence[DataSource], project: str, store: Store, files: Files
) -> tuple[DataSource, ...]:
    """Sources that name no dataset. A reference is a URI `dataset:ID`; its split, where it has one,
    goes for all of that dataset. Raises NotFound for one that was deleted, or is of another
    project."""
    expanded: list[DataSource] = []
    for source in sources:
        if not source.uri.startswith(DATASET_SCHEME):
            expanded.append(source)
            continue
        dataset = store.datasets.get(source.uri.removeprefix(DATASET_SCHEME), project)
        expanded += [
            replace(inner, split=source.split or inner.split, role=source.role or inner.role)
            for inner in sources_of(dataset, store, files)
        ]
    return tuple(expanded)
