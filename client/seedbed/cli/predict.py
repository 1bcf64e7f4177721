"""`seedbed predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import seedbed
from seedbed.cli.output import note, number, say, say_json, table
from seedbed.cli.predict_files import Items, Row, read_items, write_predictions
from seedbed.cli.session import Session, connection_options, json_option, pass_session

_SHOWN_ROWS = 20
_SHOWN_CLASSES = 3


@click.command(epilog="Example: seedbed predict m-81ab --data new.csv --output predictions.csv")
@click.argument("name", metavar="MODEL")
@click.option(
    "--data",
    required=True,
    metavar="URI",
    help="A CSV or JSON Lines file, a picture or a folder of pictures; of any other data "
    "(sample://…, a dataset's id) the first few items.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the predictions: .csv or .jsonl.",
)
@json_option
@connection_options
@pass_session
def predict(session: Session, name: str, data: str, output: Path | None) -> None:
    """Predict with a model.

    Columns that the model does not read, such as the target, are left out with a note.
    """
    if output is not None:
        # Before the work, not after it.
        write_predictions(output, [], [], check_only=True)
    with session.client() as client:
        model = client.model(name)
        if Path(data).expanduser().exists():
            labels, rows = read_items(Path(data).expanduser(), model.info.inputs)
        else:
            labels, rows = _samples(client, model.info, data)
        predictions = model.predict(rows)
    if output is not None:
        write_predictions(output, labels, predictions)
        note(f"{len(predictions):,} predictions written to {output}")
    if session.json:
        shown = [
            {"item": label, **as_json(prediction)}
            for label, prediction in zip(labels, predictions, strict=True)
        ]
        say_json({"model": model.id, "predictions": shown if output is None else len(shown)})
    elif output is None:
        _show(labels, predictions)


def _samples(client: seedbed.Client, info: seedbed.ModelInfo, data: str) -> Items:
    """The first few items of data that only the server can read."""
    found = client.create_dataset(data)
    samples = client.inspect(found, info.target).samples
    wanted = {field.name for field in info.inputs}
    rows: list[Row] = [{k: v for k, v in s.items() if k in wanted} for s in samples]
    note(f"predicting the first {len(rows)} items of {data}")
    return [str(i) for i in range(1, len(rows) + 1)], rows


def as_json(prediction: seedbed.Prediction) -> dict[str, Any]:
    """One answer: `prediction` and its probabilities or interval."""
    if isinstance(prediction, seedbed.Regression):
        found: dict[str, Any] = {"prediction": prediction.value}
        if prediction.lower is not None and prediction.upper is not None:
            found["interval"] = [prediction.lower, prediction.upper]
            found["confidence"] = prediction.confidence
        return found
    return {"prediction": prediction.label, "probabilities": dict(prediction.probabilities)}


def _show(labels: list[str], predictions: list[seedbed.Prediction]) -> None:
    if not predictions:
        say("no items")
        return
    rows = []
    for label, prediction in list(zip(labels, predictions, strict=True))[:_SHOWN_ROWS]:
        if isinstance(prediction, seedbed.Regression):
            rows.append([label, number(prediction.value), _interval(prediction)])
        else:
            top = list(prediction.probabilities.items())[:_SHOWN_CLASSES]
            rows.append([label, prediction.label, "  ".join(f"{k} {p:.3f}" for k, p in top)])
    numeric = isinstance(predictions[0], seedbed.Regression)
    table(
        [("item", "right"), "prediction", ("interval" if numeric else "probability", "rest")], rows
    )
    if len(predictions) > len(rows):
        say(f"… and {len(predictions) - len(rows):,} more; --output FILE writes all")


def _interval(prediction: seedbed.Regression) -> str:
    if prediction.lower is None or prediction.upper is None:
        return ""
    share = f" ({100 * prediction.confidence:.0f} %)" if prediction.confidence else ""
    return f"{number(prediction.lower)} – {number(prediction.upper)}{share}"
