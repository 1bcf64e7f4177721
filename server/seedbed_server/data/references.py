"""References to data: where it is, whether it may be read, and whether it is still the same.

Free of pandas and numpy: the API process uses it too.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from seedbed_sdk.errors import FailedPrecondition, FieldViolation, InvalidArgument
from seedbed_server.data.folders import is_inside, list_files, unreadable

SPLITS = ("train", "valid", "test")
SCHEMES = ("file", "sample")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SAMPLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class DataSource:
    """A place that data is read from: an absolute path, `file://…` or `sample://NAME`.

    `split` is `train`, `valid`, `test`, or empty where the data decides.
    """

    uri: str
    split: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be read, and how much of it. `uploads` may always be read; sizes are in bytes.

    `max_unpacked_bytes` is for an archive as a whole; a compressed tar is held in memory, so
    `max_in_memory_bytes` is for that. `max_ratio` is how many times its packed size a member of
    more than `ratio_from_bytes` may have.
    """

    allowed_roots: tuple[Path, ...]
    uploads: Path
    max_files: int = 500_000
    max_item_bytes: int = _GIB // 4
    max_table_bytes: int = 2 * _GIB
    max_columns: int = 10_000
    max_unpacked_bytes: int = 50 * 10**9
    max_in_memory_bytes: int = 2 * _GIB
    max_ratio: int = 200
    ratio_from_bytes: int = 10_000_000

    @property
    def roots(self) -> tuple[Path, ...]:
        """All folders that may be read, with links in them resolved."""
        return tuple(root.resolve() for root in (*self.allowed_roots, self.uploads))

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        roots = [str(root) for root in self.allowed_roots]
        return {**values, "allowed_roots": roots, "uploads": str(self.uploads)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Policy:
        """The policy that `to_dict` was called on."""
        roots = tuple(Path(root) for root in data["allowed_roots"])
        return cls(**{**data, "allowed_roots": roots, "uploads": Path(data["uploads"])})


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """A source that may be read: `path` with links resolved, or else the name of a `sample`.

    `index` is its place in the request, `roots` the folders that links inside it may point to.
    """

    index: int
    uri: str
    split: str
    path: Path | None = None
    sample: str = ""
    roots: tuple[Path, ...] = ()
    max_files: int = 500_000

    @property
    def field(self) -> str:
        """The field of the request that an error in this source is about."""
        return _field(self.index)

    def files(self) -> list[tuple[str, Path]]:
        """The files of a folder, as `list_files` finds them."""
        assert self.path is not None
        return list_files(self.path, roots=self.roots, max_files=self.max_files, field=self.field)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`sha256` is over names and contents. `signature` changes whenever a file's size or times do,
    and is cheap to take."""

    sha256: str
    size_bytes: int
    signature: str


def resolve(sources: Sequence[DataSource], policy: Policy) -> list[ResolvedSource]:
    """Checks that every source can and may be read.

    Raises InvalidArgument with a violation for each that is not: `dataset.sources[i].uri` or
    `dataset.sources[i].split`, or `dataset.sources` where there are none.
    """
    if not sources:
        raise InvalidArgument(
            "dataset.sources", "no source is given; name at least one file, folder or sample"
        )
    roots = policy.roots
    resolved: list[ResolvedSource] = []
    refusals: list[InvalidArgument] = []
    for index, source in enumerate(sources):
        try:
            resolved.append(_resolve_one(index, source, policy, roots))
        except InvalidArgument as error:
            refusals.append(error)
    if refusals:
        violations = [violation for error in refusals for violation in error.violations]
        raise InvalidArgument.of(violations, reason=refusals[0].reason)
    return resolved


def fingerprint(resolved: Sequence[ResolvedSource]) -> Fingerprint:
    """Reads everything once, in sorted order.

    Raises InvalidArgument where a file cannot be read or a folder holds what may not be read.
    """
    whole = hashlib.sha256()
    size = 0
    for source in resolved:
        _add(whole, f"{source.split}\0{source.sample}")
        for name, path in _files_of(source):
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
                    size += os.fstat(file.fileno()).st_size
            except OSError as error:
                raise unreadable(source.field, path, error) from error
            _add(whole, name)
            whole.update(digest)
    return Fingerprint(whole.hexdigest(), size, signature(resolved))


def signature(resolved: Sequence[ResolvedSource]) -> str:
    """The cheap part of a fingerprint, with a piece for each source: names, sizes and times."""
    pieces = []
    for source in resolved:
        piece = hashlib.sha256(f"{source.split}\0{source.sample}".encode())
        for name, path in _files_of(source):
            try:
                found = path.stat()
            except OSError as error:
                raise unreadable(source.field, path, error) from error
            # The time of change and the inode reveal a file put in place with its old times.
            times = f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
            _add(piece, f"{name}\0{found.st_size} {times}")
        pieces.append(piece.hexdigest()[:32])
    return ".".join(pieces)


def verify_unchanged(
    resolved: Sequence[ResolvedSource], fingerprint_sha256: str, known_signature: str = ""
) -> None:
    """Raises FailedPrecondition where the data is no longer what the fingerprint was taken of.

    Contents are read only where the signature differs or none is known.
    """
    try:
        now = signature(resolved)
        if known_signature and now == known_signature:
            return
        if fingerprint(resolved).sha256 == fingerprint_sha256:
            return
    except InvalidArgument as error:
        raise _vanished(error) from error
    before = known_signature.split(".")
    after = now.split(".")
    changed = [s for s, a, b in zip(resolved, before, after, strict=False) if a != b]
    named = ", ".join(_latest(source) for source in changed or resolved)
    raise FailedPrecondition(
        f"the dataset changed since the job was created: {named}; create the dataset again, "
        "and a job for it",
        reason="DATASET_CHANGED",
    )


def resolve_unchanged(
    sources: Sequence[DataSource],
    policy: Policy,
    fingerprint_sha256: str,
    known_signature: str = "",
) -> list[ResolvedSource]:
    """`resolve`, for data that was already accepted once: raises FailedPrecondition where it has
    vanished, may no longer be read or has changed."""
    try:
        resolved = resolve(sources, policy)
    except InvalidArgument as error:
        raise _vanished(error) from error
    verify_unchanged(resolved, fingerprint_sha256, known_signature)
    return resolved


def _field(index: int) -> str:
    return f"dataset.sources[{index}].uri"


def _resolve_one(
    index: int, source: DataSource, policy: Policy, roots: tuple[Path, ...]
) -> ResolvedSource:
    if source.split and source.split not in SPLITS:
        raise InvalidArgument(
            f"dataset.sources[{index}].split",
            f"{source.split!r} is no split; there are {', '.join(SPLITS)}, or leave it unset",
        )
    field = _field(index)
    scheme = _SCHEME.match(source.uri)
    if scheme and scheme[1].lower() == "sample":
        name = source.uri[scheme.end() :]
        if not _SAMPLE_NAME.fullmatch(name):
            raise InvalidArgument(
                field, f"{source.uri!r} names no sample; write it like sample://breast_cancer"
            )
        return ResolvedSource(index, source.uri, source.split, sample=name)
    path = _local_path(field, source.uri, scheme)
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidArgument(field, f"{path} cannot be followed: {error}") from error
    # Whether it exists is nobody's business outside the roots, so this comes first.
    if not is_inside(target, roots):
        raise InvalidArgument(field, _outside(path, policy), reason="OUTSIDE_ALLOWED_ROOTS")
    _check_readable(field, path, target)
    return ResolvedSource(
        index, source.uri, source.split, target, roots=roots, max_files=policy.max_files
    )


def _local_path(field: str, uri: str, scheme: re.Match[str] | None) -> Path:
    if not uri.strip():
        raise InvalidArgument(field, "is empty; name a file, a folder or sample://NAME")
    text = uri
    if scheme:
        if scheme[1].lower() != "file":
            raise InvalidArgument(
                field,
                f"{uri!r} has the scheme {scheme[1]!r}; this server reads paths and the schemes "
                f"{', '.join(SCHEMES)}; upload the data, or put it where the server can read it",
                reason="UNKNOWN_SCHEME",
            )
        try:
            parts = urlsplit(uri)
        except ValueError as error:
            raise InvalidArgument(field, f"{uri!r} is no valid URI: {error}") from error
        if parts.netloc not in ("", "localhost"):
            raise InvalidArgument(
                field, f"{uri!r} names the host {parts.netloc!r}; a file URI begins with file:///"
            )
        if parts.query or parts.fragment:
            raise InvalidArgument(
                field, f"{uri!r} has a ? or # in it; write %3F or %23 where the name has one"
            )
        text = unquote(parts.path)
    if "\0" in text:
        raise InvalidArgument(field, f"{uri!r} has a NUL character in it; no path has one")
    path = Path(text)
    if not path.is_absolute():
        raise InvalidArgument(
            field,
            f"{uri!r} is a relative path, and the server has another working directory than you; "
            "give the absolute path",
        )
    return path


def _outside(path: Path, policy: Policy) -> str:
    if not policy.allowed_roots:
        return (
            f"{path} may not be read: this server may read no folder; start it with --allow-root, "
            "or upload the file"
        )
    folders = ", ".join(str(root) for root in policy.allowed_roots)
    return (
        f"{path} lies outside the folders this server may read ({folders}); start it with "
        "--allow-root, or upload the file"
    )


def _check_readable(field: str, path: Path, target: Path) -> None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError as error:
        raise InvalidArgument(field, f"{path} does not exist", reason="NOT_FOUND") from error
    except OSError as error:
        raise InvalidArgument(field, f"{path} cannot be read: {error.strerror}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InvalidArgument(field, f"{path} is neither a file nor a folder")
    needed = os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK
    if not os.access(target, needed):
        raise InvalidArgument(
            field, f"{path} cannot be read by the server: permission denied; change its mode"
        )


def _files_of(source: ResolvedSource) -> list[tuple[str, Path]]:
    if source.path is None:
        return []
    return source.files() if source.path.is_dir() else [(source.path.name, source.path)]


def _add(digest: Any, text: str) -> None:
    data = text.encode()
    digest.update(len(data).to_bytes(8, "big") + data)


def _vanished(error: InvalidArgument) -> FailedPrecondition:
    what = "; ".join(violation.description for violation in error.violations)
    return FailedPrecondition(
        f"the dataset vanished since the job was created: {what}; put it back, or create the "
        "dataset again",
        reason="DATASET_VANISHED",
        violations=[FieldViolation(v.field, v.description) for v in error.violations],
    )


def _latest(source: ResolvedSource) -> str:
    """A source by name; of a folder also the file that was changed last."""
    if source.path is None:
        return source.uri
    if not source.path.is_dir():
        return str(source.path)
    files = _files_of(source)
    if not files:
        return f"{source.path} (no files are left)"
    newest = max(files, key=lambda item: item[1].stat().st_ctime_ns)
    return f"{source.path} (the latest change is to {newest[0]})"
