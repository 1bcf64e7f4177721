"""Tables at URIs whose scheme a plugin reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed_sdk.errors import SeedbedError
from seedbed_server.data.remote import Found, Limits
from seedbed_server.data.sources import ResolvedSource


@contextmanager
def find(source: ResolvedSource, limits: Limits) -> Iterator[Found]:
    """What the scheme's reader reads. Raises InvalidArgument where no plugin has one, and with what
    the reader raised."""
    reader = source.policy.readers.get(f"{source.scheme}:")
    if reader is None:
        known = sorted(key[:-1] for key in source.policy.readers if key.endswith(":"))
        raise source.refusal(
            f"has the scheme {source.scheme!r}, which no installed plugin reads (those there are "
            f"read {', '.join(known) or 'none'}); install one that does",
            reason="UNKNOWN_SCHEME",
        )

    def save(target: Path) -> None:
        import pyarrow as pa
        import pyarrow.ipc

        with _blamed(source):
            table = pa.Table.from_pandas(reader.read(source.uri), preserve_index=False)
        limits.add(table.nbytes)
        with pa.ipc.new_file(str(target), table.schema) as writer:
            writer.write_table(table)

    with _blamed(source):
        version = "" if reader.version is None else reader.version(source.uri)
    yield Found("table.arrow", version, save)


@contextmanager
def _blamed(source: ResolvedSource) -> Iterator[None]:
    try:
        yield
    except SeedbedError:
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        raise source.refusal(f"cannot be read by the plugin for {source.scheme}: {why}") from error
