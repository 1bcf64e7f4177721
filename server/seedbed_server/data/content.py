"""The bytes of a table file, in a file or in memory, packed or not, read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from seedbed_server.data.frames import BadTable
from seedbed_server.data.sources import Policy

PACKINGS = {".gz": "gzip", ".zst": "zstd"}

_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Content:
    """A file by its path or its bytes. `name` says by its ending whether it is packed."""

    source: Path | bytes
    name: str
    policy: Policy

    @property
    def packing(self) -> str:
        """`gzip`, `zstd` or empty."""
        return PACKINGS.get(PurePosixPath(self.name.lower()).suffix, "")

    @property
    def inner_name(self) -> str:
        """The name without the ending that speaks of packing."""
        path = PurePosixPath(self.name)
        return path.stem if self.packing else path.name

    @property
    def stored_bytes(self) -> int:
        """The size as it is stored. Raises OSError where the file is gone."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """An Arrow stream over the unpacked bytes. Raises BadTable where the packing is damaged."""
        stored = pa.BufferReader(self.source) if isinstance(self.source, bytes) else None
        with stored or pa.OSFile(str(self.source)) as raw:
            try:
                if not self.packing:
                    yield raw
                    return
                with pa.CompressedInputStream(raw, self.packing) as unpacked:
                    yield unpacked
            except OSError as error:
                if not self.packing or error.errno:
                    raise
                raise BadTable(f"is damaged or no {self.packing} data ({error})") from error

    def pieces(self, size: int = _PIECE_BYTES) -> Iterator[bytes]:
        """The unpacked bytes; raises BadTable as soon as they are too many."""
        stored = self.stored_bytes
        total = 0
        with self.opened() as stream:
            while piece := stream.read(size):
                total += len(piece)
                self._check(total, stored)
                yield piece

    def head(self, size: int) -> bytes:
        """The first bytes, at most `size`."""
        with self.opened() as stream:
            return bytes(stream.read(size))

    def everything(self) -> bytes:
        """All unpacked bytes; raises BadTable where they are too many."""
        if not self.packing:
            return self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return b"".join(self.pieces())

    def _check(self, total: int, stored: int) -> None:
        most = self.policy.max_table_bytes
        if total > most:
            raise BadTable(f"unpacks to more than {most:,} bytes, the most that a table may have")
        ratio = self.policy.max_ratio
        if self.packing and total > self.policy.ratio_from_bytes and total > ratio * stored:
            raise BadTable(
                f"is packed more than {ratio} to one ({total:,} bytes come of {stored:,}); it "
                "looks like a decompression bomb"
            )
