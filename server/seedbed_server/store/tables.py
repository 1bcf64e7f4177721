"""The tables. A change here comes with a migration; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

from seedbed_server.store.columns import Real, String, Text, UtcTime

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
    sa.Column("id", String(63), primary_key=True),
    sa.Column("project", String(63), nullable=False),
    sa.Column("display_name", Text, nullable=False),
    sa.Column("sources", sa.JSON, nullable=False),
    sa.Column("upload_file", Text, nullable=False),
    sa.Column("fingerprint", String(64), nullable=False),
    sa.Column("signature", Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("layout", String(32), nullable=False, server_default=""),
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
    sa.Column("project", String(63), primary_key=True),
    sa.Column("id", String(63), primary_key=True),
    sa.Column("file_name", Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", String(64), nullable=False),
    sa.Column("display_name", Text, nullable=False),
    sa.Column("dataset_id", String(63), nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("dataset", String(63), nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", String(63), primary_key=True),
    sa.Column("project", String(63), nullable=False),
    sa.Column("display_name", Text, nullable=False),
    sa.Column("task", Text, nullable=False),
    # Not a foreign key: a dataset may go once the jobs that used it have ended.
    sa.Column("dataset", String(63), nullable=False, index=True),
    sa.Column("target", Text, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("metric", Text, nullable=False),
    sa.Column("budget", sa.JSON, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("search_space", sa.JSON, nullable=False),
    sa.Column("dataset_fingerprint", String(64), nullable=False),
    sa.Column("state", String(16), nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("stop_reason", String(24)),
    sa.Column("stop_requested", sa.Boolean, nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("consumption", sa.JSON, nullable=False),
    sa.Column("model", String(63), nullable=False),
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
    sa.Column("replay_of", String(63), nullable=False, server_default=""),
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
    sa.Column("state", String(16), nullable=False),
    sa.Column("architecture", Text, nullable=False),
    sa.Column("baseline", sa.Boolean, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("validation_score", Real),
    sa.Column("epoch_scores", sa.JSON, nullable=False),
    sa.Column("epochs", Real, nullable=False),
    sa.Column("samples", sa.BigInteger, nullable=False),
    sa.Column("seconds", Real, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("start_time", UtcTime),
    sa.Column("end_time", UtcTime),
    sa.Column("recipe", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("origin", String(24), nullable=False, server_default=""),
    sa.Column("origin_job", String(63), nullable=False, server_default=""),
)

# The best settings of the searches that succeeded; each goes with its job.
winners = sa.Table(
    "winners",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project", String(63), nullable=False),
    sa.Column("task", Text, nullable=False),
    sa.Column("target", Text, nullable=False),
    sa.Column("target_type", Text, nullable=False),
    sa.Column("metric", Text, nullable=False),
    sa.Column("architecture", Text, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("score", Real, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("dataset_fingerprint", String(64), nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Index(None, "project", "task", "create_time"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("kind", String(24), nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", String(63), primary_key=True),
    sa.Column("project", String(63), nullable=False),
    sa.Column("display_name", Text, nullable=False),
    sa.Column("task", Text, nullable=False),
    # Not a foreign key: a model outlives its job.
    sa.Column("job", String(63), nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("architecture", Text, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("target", Text, nullable=False),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("validation_score", sa.JSON(none_as_null=True)),
    sa.Column("test_score", sa.JSON(none_as_null=True)),
    sa.Column("dataset_fingerprint", String(64), nullable=False),
    sa.Column("folder", Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
    sa.Column("test_scores", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("digest", String(64), nullable=False, server_default=""),
    sa.Column("recipe", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("latency_seconds", Real),
    sa.Index(None, "project", "create_time"),
)

# The creates that were answered, by the caller's request id.
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("project", String(63), primary_key=True),
    sa.Column("request_id", String(36), primary_key=True),
    sa.Column("method", String(32), nullable=False),
    sa.Column("digest", String(64), nullable=False),
    sa.Column("resource", String(63), nullable=False),
    sa.Column("create_time", UtcTime, nullable=False),
)

# A token itself is nowhere, only the SHA-256 of its secret.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", String(63), primary_key=True),
    sa.Column("label", Text, nullable=False),
    sa.Column("digest", String(64), nullable=False),
    sa.Column("role", String(16), nullable=False),
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
    sa.Column("token", String(63), nullable=False),
    sa.Column("peer", Text, nullable=False),
    sa.Column("method", Text, nullable=False),
    sa.Column("resource", Text, nullable=False),
    sa.Column("outcome", String(24), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
)

# Who works on a job that is at work, and until when nobody else may take it.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("owner", String(63), nullable=False),
    sa.Column("host", Text, nullable=False),
    sa.Column("expiry", UtcTime, nullable=False),
)

# What is true of the whole database, such as the id of the data directory that belongs to it.
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", String(63), primary_key=True),
    sa.Column("value", Text, nullable=False),
)
