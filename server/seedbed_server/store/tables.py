"""The tables. A change here comes with a migration; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time in UTC as microseconds since 1970, which sorts and loses nothing anywhere."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else _EPOCH + timedelta(microseconds=value)


NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMES)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("project", sa.String(63), nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("sources", sa.JSON, nullable=False),
    sa.Column("upload_file", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("layout", sa.String(32), nullable=False, server_default=""),
    sa.Index(None, "project", "create_time"),
)

# Which datasets name another one among their sources.
dataset_uses = sa.Table(
    "dataset_uses",
    metadata,
    sa.Column("dataset", sa.ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("used", sa.ForeignKey("datasets.id"), primary_key=True, index=True),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("project", sa.String(63), primary_key=True),
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("dataset_id", sa.String(63), nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("dataset", sa.String(63), nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("project", sa.String(63), nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    # Not a foreign key: a dataset may go once the jobs that used it have ended.
    sa.Column("dataset", sa.String(63), nullable=False, index=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("budget", sa.JSON, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("search_space", sa.JSON, nullable=False),
    sa.Column("dataset_fingerprint", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("stop_reason", sa.String(24)),
    sa.Column("stop_requested", sa.Boolean, nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("consumption", sa.JSON, nullable=False),
    sa.Column("model", sa.String(63), nullable=False),
    sa.Column("validation_score", sa.JSON(none_as_null=True)),
    sa.Column("test_score", sa.JSON(none_as_null=True)),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("start_time", UtcTime),
    sa.Column("end_time", UtcTime),
    sa.Column("update_time", UtcTime, nullable=False),
    sa.Column("last_sequence", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("state_time", UtcTime),
    sa.Column("replay_of", sa.String(63), nullable=False, server_default=""),
    sa.Column("replay", sa.JSON(none_as_null=True)),
    sa.Column("constraints", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("starting_points", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("ignore_earlier_jobs", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("earlier_jobs", sa.JSON(none_as_null=True)),
    sa.Column("find_learning_rate", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("trace_context", sa.JSON, nullable=False, server_default="{}"),
    sa.Index(None, "project", "create_time"),
    sa.Index(None, "state", "create_time"),
)

trials = sa.Table(
    "trials",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("architecture", sa.Text, nullable=False),
    sa.Column("baseline", sa.Boolean, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("validation_score", sa.Float),
    sa.Column("epoch_scores", sa.JSON, nullable=False),
    sa.Column("epochs", sa.Float, nullable=False),
    sa.Column("samples", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("start_time", UtcTime),
    sa.Column("end_time", UtcTime),
    sa.Column("recipe", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("origin", sa.String(24), nullable=False, server_default=""),
    sa.Column("origin_job", sa.String(63), nullable=False, server_default=""),
)

# The best settings of the searches that succeeded; each goes with its job.
winners = sa.Table(
    "winners",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project", sa.String(63), nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("target_type", sa.Text, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("architecture", sa.Text, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("dataset_fingerprint", sa.String(64), nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Index(None, "project", "task", "create_time"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("project", sa.String(63), nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    # Not a foreign key: a model outlives its job.
    sa.Column("job", sa.String(63), nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("architecture", sa.Text, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("validation_score", sa.JSON(none_as_null=True)),
    sa.Column("test_score", sa.JSON(none_as_null=True)),
    sa.Column("dataset_fingerprint", sa.String(64), nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("test_scores", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("digest", sa.String(64), nullable=False, server_default=""),
    sa.Column("recipe", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("latency_seconds", sa.Float),
    sa.Index(None, "project", "create_time"),
)

# The creates that were answered, by the caller's request id.
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("project", sa.String(63), primary_key=True),
    sa.Column("request_id", sa.String(36), primary_key=True),
    sa.Column("method", sa.String(32), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("resource", sa.String(63), nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
)

# A token itself is nowhere, only the SHA-256 of its secret.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("projects", sa.JSON, nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("expire_time", UtcTime),
    sa.Column("revoke_time", UtcTime),
)

# Who called what, the newest with the highest number.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("token", sa.String(63), nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(24), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
)
