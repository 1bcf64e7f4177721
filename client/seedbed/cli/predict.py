"""`seedbed predict`."""

from __future__ import annotations

from pathlib import Path

import click

import seedbed
from seedbed.cli.output import note, say_json
from seedbed.cli.predict_files import Items, Row, read_items, write_predictions
from seedbed.cli.prediction_output import as_json, show
from seedbed.cli.session import Session, connection_options, json_option, pass_session


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
    help="Where to write the predictions: .csv or .jsonl; for masks a folder.",
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
        show(labels, predictions)


def _samples(client: seedbed.Client, info: seedbed.ModelInfo, data: str) -> Items:
    """The first few items of data that only the server can read."""
    found = client.create_dataset(data)
    samples = client.inspect(found, info.target).samples
    wanted = {field.name for field in info.inputs}
    rows: list[Row] = [{k: v for k, v in s.items() if k in wanted} for s in samples]
    note(f"predicting the first {len(rows)} items of {data}")
    return [str(i) for i in range(1, len(rows) + 1)], rows
