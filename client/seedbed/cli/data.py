"""`seedbed tasks`, `inspect`, `datasets` and `dataset …`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

import seedbed
from seedbed.cli.data_options import data_options
from seedbed.cli.output import moment, note, pairs, say, say_json, short, size, table
from seedbed.cli.progress import finding_text
from seedbed.cli.session import Session, connection_options, json_option, pass_session

_SHOWN_CLASSES = 20


@click.command(epilog="Example: seedbed tasks")
@click.argument("name", metavar="[TASK]", required=False)
@json_option
@connection_options
@pass_session
def tasks(session: Session, name: str | None) -> None:
    """List the tasks that the installed plugins bring, or show one of them."""
    with session.client() as client:
        found = [client.task(name)] if name else client.tasks()
        problems = [] if name else client.plugin_problems()
    if session.json:
        shown = [{"task": task.id, **_without_name(asdict(task))} for task in found]
        say_json({"tasks": shown, "problems": [asdict(problem) for problem in problems]})
        return
    if name:
        _show_task(found[0])
    elif not found:
        say("no tasks: no plugin is installed on the server")
    else:
        table(
            ["task", "title", "architectures", ("package", "rest")],
            [
                [
                    task.id,
                    task.title,
                    ", ".join(a.name for a in task.architectures),
                    f"{task.package} {task.package_version}",
                ]
                for task in found
            ],
        )
    for problem in problems:
        note(f"plugin {problem.plugin} ({problem.package}) is out: {problem.message}")


def _without_name(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "name"}


def _show_task(task: seedbed.Task) -> None:
    properties: dict[str, Any] = task.options_schema.get("properties", {})
    pairs(
        [
            ("task", task.id),
            ("title", task.title),
            ("description", task.description),
            ("inputs", ", ".join(task.input_types)),
            ("targets", ", ".join(task.target_types)),
            ("metrics", ", ".join(metric.name for metric in task.metrics)),
            ("package", f"{task.package} {task.package_version}"),
        ]
    )
    for option, schema in properties.items():
        default = f" (default {schema['default']})" if "default" in schema else ""
        pairs([(f"--set {option}=…", f"{schema.get('description', '')}{default}")])
    for architecture in task.architectures:
        baseline = " (baseline)" if architecture.baseline else ""
        say()
        say(f"{architecture.name}{baseline}: {architecture.description}")
        pairs((f"  {key}", domain) for key, domain in architecture.search_space.items())


@click.command(epilog="Example: seedbed inspect train.csv --target income")
@click.argument("uri", nargs=-1, required=True)
@data_options
@click.option("--target", metavar="COLUMN", help="The column to predict.")
@json_option
@connection_options
@pass_session
def inspect(
    session: Session,
    uri: tuple[str, ...],
    where: dict[str, Any],
    target: str | None,
) -> None:
    """Read data and say what it is understood to be."""
    with session.client() as client:
        found = client.create_dataset(uri, **where)
        inspection = client.inspect(found, target)
    if session.json:
        say_json({"dataset": found.id, **asdict(inspection), "tasks": _task_ids(inspection)})
        return
    classes = list(inspection.classes.items())
    more = f", … and {len(classes) - _SHOWN_CLASSES} more" if len(classes) > _SHOWN_CLASSES else ""
    pairs(
        [
            ("dataset", found.id),
            ("layout", " of ".join(filter(None, (inspection.layout, inspection.content)))),
            ("items", ", ".join(f"{n:,} {s.lower()}" for s, n in inspection.splits.items())),
            ("target", inspection.target),
            ("classes", ", ".join(f"{k} ({n:,})" for k, n in classes[:_SHOWN_CLASSES]) + more),
            *((f"table {t.role}", f"{t.row_count:,} rows") for t in inspection.tables),
            ("tasks", ", ".join(_task_ids(inspection))),
        ]
    )
    if inspection.guesses:
        say()
        table(
            ["guess", "value", ("why", "rest"), "otherwise say"],
            [[g.what, g.value, g.why, g.overrule] for g in inspection.guesses],
        )
    if inspection.columns:
        say()
        table(
            ["column", "type", ("missing", "right"), ("distinct", "right"), ("examples", "rest")],
            [
                [c.name, c.type, c.missing_count, c.distinct_count, ", ".join(c.examples)]
                for c in inspection.columns
            ],
        )
    if inspection.findings:
        say()
        for finding in inspection.findings:
            say(finding_text(finding))


def _task_ids(inspection: seedbed.Inspection) -> list[str]:
    return [short(name) for name in inspection.tasks]


def _dataset_json(found: seedbed.Dataset) -> dict[str, Any]:
    return {
        "dataset": found.id,
        "display_name": found.display_name,
        "sources": [asdict(source) for source in found.sources],
        "fingerprint": found.fingerprint,
        "size_bytes": found.size_bytes,
        "create_time": found.create_time,
    }


@click.command(epilog="Example: seedbed datasets")
@json_option
@connection_options
@pass_session
def datasets(session: Session) -> None:
    """List the datasets, the newest first."""
    with session.client() as client:
        found = client.datasets()
    if session.json:
        say_json({"datasets": [_dataset_json(item) for item in found]})
    elif not found:
        say("no datasets yet; `seedbed train` and `seedbed inspect` make them")
    else:
        table(
            ["dataset", ("name", "rest"), ("size", "right"), "created"],
            [
                [item.id, item.display_name, size(item.size_bytes), moment(item.create_time)]
                for item in found
            ],
        )


@click.group(epilog="Example: seedbed dataset show DATASET")
@connection_options
def dataset() -> None:
    """Look at one dataset, delete it."""


@dataset.command(epilog="Example: seedbed dataset show d-77c0")
@click.argument("name", metavar="DATASET")
@json_option
@connection_options
@pass_session
def show(session: Session, name: str) -> None:
    """Show a dataset: where its data is, and its fingerprint."""
    with session.client() as client:
        found = client.dataset(name)
    if session.json:
        say_json(_dataset_json(found))
        return
    pairs(
        [
            ("dataset", found.id),
            ("name", found.display_name),
            *((source.split.lower() or "source", source.uri) for source in found.sources),
            ("size", size(found.size_bytes)),
            ("sha-256", found.fingerprint),
            ("created", moment(found.create_time)),
        ]
    )


@dataset.command(epilog="Example: seedbed dataset delete d-77c0")
@click.argument("name", metavar="DATASET")
@json_option
@connection_options
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a dataset and what was uploaded for it."""
    with session.client() as client:
        found = client.dataset(name)
        client.delete_dataset(found)
    if session.json:
        say_json({"deleted": found.id})
    else:
        say(f"deleted dataset {found.id}")
