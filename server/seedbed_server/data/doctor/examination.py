"""All checks of a dataset, one after the other, as far as the time allows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog

from seedbed_sdk.dataset import Dataset
from seedbed_server.data.doctor.columns import about_columns, about_split_columns
from seedbed_server.data.doctor.context import Check, Context
from seedbed_server.data.doctor.file_groups import about_file_groups
from seedbed_server.data.doctor.items import (
    about_alike_pictures,
    about_damaged_files,
    about_masks,
    about_same_files,
)
from seedbed_server.data.doctor.labels import about_labels
from seedbed_server.data.doctor.leaks import about_leaks
from seedbed_server.data.doctor.order import about_groups, about_time
from seedbed_server.data.doctor.rows import about_rows
from seedbed_server.data.doctor.shift import about_shift
from seedbed_server.data.doctor.target import about_classes, about_ratings, about_target
from seedbed_server.data.doctor.texts import about_alike_texts
from seedbed_server.data.shape import Shape
from seedbed_server.jobs.values import Finding

log = structlog.get_logger()

SEVERITIES = ("ERROR", "WARNING", "INFO")
CHECKS: Mapping[str, Check] = {
    "target": about_target,
    "classes": about_classes,
    "ratings": about_ratings,
    "columns": about_columns,
    "columns of the splits": about_split_columns,
    "equal rows": about_rows,
    "leaking columns": about_leaks,
    "groups": about_groups,
    "groups of files": about_file_groups,
    "order in time": about_time,
    "shift between the splits": about_shift,
    "suspicious labels": about_labels,
    "texts that are alike": about_alike_texts,
    "damaged files": about_damaged_files,
    "equal files": about_same_files,
    "pictures that are alike": about_alike_pictures,
    "masks": about_masks,
}
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def examine(
    dataset: Dataset,
    target: str = "",
    *,
    options: Mapping[str, Any] = _NO_OPTIONS,
    seconds: float | None = None,
) -> list[Finding]:
    """All findings about a dataset, the gravest first.

    `target` is the column to predict, several with commas between them, or empty. `options` are a
    job's: what they already take care of, such as `group_column`, is no finding. After `seconds` no
    further check begins, and what was not looked at is said. Large data is looked at by samples,
    which are the same each time. Raises InvalidArgument with `target` for a column there is not.
    """
    return examine_shape(Shape.of(dataset, target), options=options, seconds=seconds)


def examine_shape(
    shape: Shape, *, options: Mapping[str, Any] = _NO_OPTIONS, seconds: float | None = None
) -> list[Finding]:
    """As `examine`, for a dataset whose columns were looked at already."""
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    context = Context(shape, options, deadline)
    found: list[Finding] = []
    skipped, failed = [], []
    for name, check in CHECKS.items():
        if context.is_late():
            skipped.append(name)
            continue
        try:
            found += check(context)
        except Exception:
            # Advice is not worth an inspection or a job; the log has what the developers need.
            log.exception("a check of the data failed", check=name)
            failed.append(name)
        if context.is_late():
            skipped.append(f"{name} (the rest)")
    if failed:
        found.append(
            Finding(
                "INFO",
                "check_failed",
                f"some checks of the data failed by a mistake in them: {', '.join(failed)}",
                "",
                "The server's log says why; please report it.",
            )
        )
    if skipped:
        found.append(
            Finding(
                "INFO",
                "not_examined",
                f"the {seconds:g} s for examining the data were up before all was looked at: "
                f"{', '.join(skipped)}",
                "",
                "Examine a part of the data by itself to have all of it checked.",
            )
        )
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
