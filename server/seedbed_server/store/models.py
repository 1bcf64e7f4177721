"""Models that jobs published."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from seedbed_sdk.errors import NotFound
from seedbed_server.jobs.values import InputField, Model, Score
from seedbed_server.store import tables
from seedbed_server.store.database import Database
from seedbed_server.store.job_rows import score_from_row, score_to_row
from seedbed_server.store.job_writer import JobWriter
from seedbed_server.store.listing import newest_first
from seedbed_server.store.outages import retried
from seedbed_server.store.pages import Page, PageRequest

_table = tables.models


@retried("_database")
class Models:
    """The rows of models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, model_id: str, project: str | None = None) -> Model:
        """Raises NotFound, also for a model of another project than is given."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(_table).where(_table.c.id == model_id)).first()
        if row is None or project not in (None, row.project):
            raise _not_found(model_id)
        return _from_row(row)

    def list(self, project: str, page: PageRequest) -> Page[Model]:
        """The newest first."""
        conditions = [_table.c.project == project]
        return newest_first(
            self._database, _table, conditions, ("models", project), page, _from_row
        )

    def add(self, writer: JobWriter, model: Model) -> None:
        """Adds the model in the transaction that ends its job."""
        writer.execute(sa.insert(_table).values(_to_row(model)))

    def delete(self, model_id: str) -> Model:
        """Deletes the row and returns what it was. Raises NotFound."""
        with self._database.writing() as connection:
            row = connection.execute(sa.select(_table).where(_table.c.id == model_id)).first()
            if row is None:
                raise _not_found(model_id)
            connection.execute(sa.delete(_table).where(_table.c.id == model_id))
        return _from_row(row)

    def folders(self) -> set[str]:
        """The folders that models are in."""
        with self._database.reading() as connection:
            return set(connection.execute(sa.select(_table.c.folder)).scalars())


def _not_found(model_id: str) -> NotFound:
    return NotFound(f"there is no model {model_id!r}", metadata={"model": model_id})


def _to_row(model: Model) -> dict[str, Any]:
    return {
        **{field: getattr(model, field) for field in model.__dataclass_fields__},
        "parameters": dict(model.parameters),
        "recipe": dict(model.recipe),
        "inputs": [asdict(field) for field in model.inputs],
        "classes": list(model.classes),
        "validation_score": score_to_row(model.validation_score),
        "test_score": score_to_row(model.test_score),
        "test_scores": [score_to_row(score) for score in model.test_scores],
    }


def _from_row(row: Any) -> Model:
    return Model(
        **{
            **row._mapping,
            "inputs": tuple(InputField(**field) for field in row.inputs),
            "classes": tuple(row.classes),
            "validation_score": score_from_row(row.validation_score),
            "test_score": score_from_row(row.test_score),
            "test_scores": tuple(Score(**score) for score in row.test_scores),
        }
    )
