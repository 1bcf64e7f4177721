"""What a reference is, and what a server may read. Free of pandas and numpy: the API process uses
it too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.folders import list_files

if TYPE_CHECKING:
    from seedbed_sdk.readers import Reader

SPLITS = ("train", "valid", "test")
SCHEMES = ("file", "sample")
DATABASES = ("sqlite", "postgresql", "mysql")

_GIB = 2**30
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True)
class DataSource:
    """A place that data is read from: an absolute path, or a URI of a scheme that the server reads.

    `split` is `train`, `valid`, `test`, or empty where the data decides. `role` says what a side
    table is (`items`, `users`, `legend` or another name); empty for the data itself. `query` is
    the SELECT that is asked of a database.
    """

    uri: str
    split: str = ""
    role: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be read, and how much of it. `uploads` may always be read; sizes are in bytes.

    `max_unpacked_bytes` is for an archive as a whole, and for what is fetched of one source; a
    compressed tar is held in memory, so `max_in_memory_bytes` is for that. `max_ratio` is how many
    times its packed size a file of more than `ratio_from_bytes` may have. `max_rows` is for the
    answer of a database.

    A table of more than `memory_limit_bytes` is not held in memory but kept as a file a column in
    the folder `prepared`, which holds at most `prepared_limit_bytes` (0: as `PreparedStore` says);
    without that folder such tables are refused.

    Remote data is kept in the folder `remote_cache`; what was not used for a day leaves it where it
    holds more than `max_remote_cache_bytes`. A fetch takes at most `fetch_seconds`.
    `allow_private_addresses` lets URIs name hosts that are not on the public internet.

    `readers` are those of the plugins, by scheme (`name:`) or ending (`.name`). They exist in
    processes that have loaded the plugins, and do not travel with the rest.
    """

    allowed_roots: tuple[Path, ...]
    uploads: Path
    allowed_schemes: tuple[str, ...] = SCHEMES
    allow_private_addresses: bool = False
    remote_cache: Path | None = None
    prepared: Path | None = None
    prepared_limit_bytes: int = 0
    memory_limit_bytes: int = 2 * _GIB
    max_remote_cache_bytes: int = 50 * 10**9
    fetch_seconds: float = 600.0
    max_files: int = 500_000
    max_item_bytes: int = _GIB // 4
    max_table_bytes: int = 50 * 10**9
    max_columns: int = 10_000
    max_rows: int = 50_000_000
    max_unpacked_bytes: int = 50 * 10**9
    max_in_memory_bytes: int = 2 * _GIB
    max_ratio: int = 200
    ratio_from_bytes: int = 10_000_000
    readers: Mapping[str, Reader] = field(default_factory=dict, compare=False, repr=False)

    @property
    def roots(self) -> tuple[Path, ...]:
        """All folders that may be read, with links in them resolved."""
        return tuple(root.resolve() for root in (*self.allowed_roots, self.uploads))

    @property
    def max_held_table_bytes(self) -> int:
        """The largest table that is held in memory as a whole."""
        return min(self.max_table_bytes, self.memory_limit_bytes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data, without the readers."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "readers"}
        return {
            **values,
            "allowed_roots": [str(root) for root in self.allowed_roots],
            "allowed_schemes": list(self.allowed_schemes),
            "uploads": str(self.uploads),
            **{name: None if path is None else str(path) for name, path in self._folders()},
        }

    def _folders(self) -> tuple[tuple[str, Path | None], ...]:
        return ("remote_cache", self.remote_cache), ("prepared", self.prepared)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], readers: Mapping[str, Reader] | None = None
    ) -> Policy:
        """The policy that `to_dict` was called on, with the readers of this process."""
        folders = {name: data[name] for name in ("remote_cache", "prepared")}
        return cls(
            **{
                **data,
                "allowed_roots": tuple(Path(root) for root in data["allowed_roots"]),
                "allowed_schemes": tuple(data["allowed_schemes"]),
                "uploads": Path(data["uploads"]),
                **{name: None if at is None else Path(at) for name, at in folders.items()},
                "readers": readers or {},
            }
        )


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """A source that may be read: `path` with links resolved, the name of a `sample`, or else remote
    data, which has a path once it was fetched.

    `index` is its place in the request, `roots` the folders that links inside it may point to.
    `version` of fetched data changes with its contents.
    """

    index: int
    source: DataSource
    policy: Policy
    path: Path | None = None
    sample: str = ""
    roots: tuple[Path, ...] = ()
    version: str = ""

    @property
    def uri(self) -> str:
        return self.source.uri

    @property
    def split(self) -> str:
        return self.source.split

    @property
    def role(self) -> str:
        return self.source.role

    @property
    def field(self) -> str:
        """The field of the request that an error in this source is about."""
        return source_field(self.index)

    @property
    def scheme(self) -> str:
        """The URI's scheme in lower case; `file` for a path."""
        return scheme_of(self.uri) or "file"

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched before it can be read."""
        return self.scheme not in SCHEMES

    def refusal(self, what: str, *, reason: str = "UNREADABLE") -> InvalidArgument:
        """The error to raise; `what` goes on after the URI, which is shown without its secrets."""
        return InvalidArgument(self.field, f"{shown(self.uri)} {what}", reason=reason)

    def files(self) -> list[tuple[str, Path]]:
        """The files of a folder, as `list_files` finds them."""
        assert self.path is not None
        return list_files(
            self.path, roots=self.roots, max_files=self.policy.max_files, field=self.field
        )


def scheme_of(uri: str) -> str:
    """The scheme of a URI in lower case; empty for a path."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""


def source_field(index: int, name: str = "uri") -> str:
    """The path of a source's field in a request."""
    return f"dataset.sources[{index}].{name}"


def shown(uri: str) -> str:
    """A URI for messages and logs: without user and password, and without a query, since those hold
    signatures and keys."""
    if scheme_of(uri) in ("", *SCHEMES):
        return uri
    scheme, _, rest = uri.partition("://")
    plain, asks, _ = rest.partition("?")
    host, slash, path = plain.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{'?…' if asks else ''}"
