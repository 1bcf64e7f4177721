"""Databases of their own for tests of what servers share, on one PostgreSQL server."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from tests.running_databases import PASSWORD, Cluster

USER = "seedbed"


def new_database(cluster: Cluster) -> str:
    """The address of an empty database, with the user and the password."""
    name = f"seedbed_{secrets.token_hex(4)}"
    with cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {USER}")
    return address(cluster, name)


def address(cluster: Cluster, name: str, password: str = PASSWORD) -> str:
    return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{cluster.port}/{name}"


def name_of(url: str) -> str:
    """The database that an address names."""
    return url.rpartition("/")[2]


def change(url: str, statement: str) -> None:
    """Runs a statement past the store."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
