"""Whether a URI can and may be read; asks no other machine. Free of pandas and numpy."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.folders import is_inside
from seedbed_server.data.sources import (
    DATABASES,
    SPLITS,
    DataSource,
    Policy,
    ResolvedSource,
    scheme_of,
    shown,
    source_field,
)

_SAMPLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_LONGEST_URI = 4096
# Where each of the built-in kinds of remote data takes its credentials from.
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "postgresql": "PGHOST and PGPASSWORD",
    "mysql": "MYSQL_HOST and MYSQL_PWD",
}


def resolve_one(
    index: int, source: DataSource, policy: Policy, roots: tuple[Path, ...]
) -> ResolvedSource:
    """Raises InvalidArgument with the field at fault of `dataset.sources[index]`."""
    if source.split and source.split not in SPLITS:
        raise InvalidArgument(
            source_field(index, "split"),
            f"{source.split!r} is no split; there are {', '.join(SPLITS)}, or leave it unset",
        )
    field = source_field(index)
    scheme = scheme_of(source.uri)
    if scheme:
        _check_scheme(field, scheme, source.uri, policy)
    if source.query and scheme not in DATABASES:
        raise InvalidArgument(
            source_field(index, "query"),
            f"a query is for databases ({', '.join(DATABASES)}), and {shown(source.uri)} names "
            "none; leave it unset",
        )
    if scheme == "sample":
        name = source.uri.partition("://")[2]
        if not _SAMPLE_NAME.fullmatch(name):
            raise InvalidArgument(
                field, f"{source.uri!r} names no sample; write it like sample://breast_cancer"
            )
        return ResolvedSource(index, source, policy, sample=name)
    if scheme not in ("", "file"):
        remote = ResolvedSource(index, source, policy)
        _check_remote(remote, scheme, roots)
        return remote
    path = _local_path(field, source.uri, scheme)
    target = checked_path(field, path, policy, roots)
    return ResolvedSource(index, source, policy, target, roots=_within_reach(target, policy))


def refuse_kept_upload(index: int, source: DataSource, policy: Policy) -> None:
    """Raises InvalidArgument for a source that a caller gave and that leads to where uploads are
    kept: they belong to projects, and whose they are is known by the names of their datasets."""
    scheme = scheme_of(source.uri)
    if scheme not in ("", "file", "sqlite"):
        return
    field = source_field(index)
    path = sqlite_path(source.uri) if scheme == "sqlite" else _local_path(field, source.uri, scheme)
    uploads, target = policy.uploads.resolve(), path.resolve()
    if target.is_relative_to(uploads) or uploads.is_relative_to(target):
        raise InvalidArgument(
            field,
            f"{path} leads to where uploads are kept; name the dataset that the file was uploaded "
            "as, such as datasets/ID",
            reason="OUTSIDE_ALLOWED_ROOTS",
        )


def _within_reach(target: Path, policy: Policy) -> tuple[Path, ...]:
    """The folders that links inside a source may lead to: what everybody may read, and of the
    uploads only the one that the source itself is, since others may be another project's."""
    allowed = tuple(root.resolve() for root in policy.allowed_roots)
    uploads = policy.uploads.resolve()
    if target == uploads or not target.is_relative_to(uploads):
        return allowed
    return (*allowed, uploads / target.relative_to(uploads).parts[0])


def checked_path(field: str, path: Path, policy: Policy, roots: tuple[Path, ...]) -> Path:
    """The path with links resolved, if it is in one of the roots and a file or folder that can be
    read. Raises InvalidArgument."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidArgument(field, f"{path} cannot be followed: {error}") from error
    # Whether it exists is nobody's business outside the roots, so this comes first.
    if not is_inside(target, roots):
        raise InvalidArgument(field, _outside(path, policy), reason="OUTSIDE_ALLOWED_ROOTS")
    _check_readable(field, path, target)
    return target


def split_uri(field: str, uri: str) -> SplitResult:
    """The parts of a URI. Raises InvalidArgument where it has no valid ones."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise InvalidArgument(field, f"{shown(uri)!r} is no valid URI: {error}") from error
    return parts


def sqlite_path(uri: str) -> Path:
    """The file that `sqlite:///path` or `sqlite:////path` names."""
    return Path("/" + unquote(urlsplit(uri).path).lstrip("/"))


def _check_scheme(field: str, scheme: str, uri: str, policy: Policy) -> None:
    if scheme in policy.allowed_schemes:
        return
    raise InvalidArgument(
        field,
        f"{shown(uri)!r} has the scheme {scheme!r}; this server reads paths and the schemes "
        f"{', '.join(policy.allowed_schemes)}; upload the data, put it where the server can read "
        f"it, or start the server with --allow-scheme {scheme}",
        reason="SCHEME_NOT_ALLOWED",
    )


def _check_remote(source: ResolvedSource, scheme: str, roots: tuple[Path, ...]) -> None:
    uri = source.uri
    if len(uri) > _LONGEST_URI or any(ord(c) < 33 or ord(c) == 127 for c in uri):
        raise InvalidArgument(
            source.field,
            f"{shown(uri)[:200]!r} is no valid URI: it may have {_LONGEST_URI} characters, and "
            "neither spaces nor control characters (write %20 for a space)",
        )
    if source.policy.remote_cache is None:
        raise source.refusal("is remote, and this server has no folder to keep such data in")
    netloc = uri.partition("://")[2].partition("/")[0]
    if ("@" in netloc and scheme not in DATABASES) or ":" in netloc.rpartition("@")[0]:
        where = _CREDENTIALS.get(scheme, "nowhere for this scheme")
        raise source.refusal(
            "has credentials in it, and those do not belong into a URI, which is stored and shown; "
            f"take them out; the server takes them from its own environment ({where})",
            reason="CREDENTIALS_IN_URI",
        )
    if scheme in ("http", "https"):
        if not split_uri(source.field, uri).hostname:
            raise source.refusal("names no host", reason="INVALID_FIELD")
    elif scheme in ("s3", "gs"):
        if not _BUCKET.fullmatch(netloc):
            raise source.refusal(
                f"names no bucket; write it like {scheme}://bucket/folder/ or "
                f"{scheme}://bucket/file.csv",
                reason="INVALID_FIELD",
            )
    elif scheme in DATABASES:
        _check_database(source, scheme, roots)


def _check_database(source: ResolvedSource, scheme: str, roots: tuple[Path, ...]) -> None:
    parts = split_uri(source.field, source.uri)
    if not source.source.query.strip():
        raise InvalidArgument(
            source_field(source.index, "query"),
            f"is empty; say what to read of {shown(source.uri)}, such as SELECT * FROM customers",
        )
    if parts.query or parts.fragment:
        raise source.refusal(
            "has options after ? or #, and a database is opened without; take them out",
            reason="INVALID_FIELD",
        )
    if scheme == "sqlite":
        if parts.netloc or not parts.path.strip("/"):
            raise source.refusal(
                "names no file; write it like sqlite:///folder/file.db", reason="INVALID_FIELD"
            )
        path = checked_path(source.field, sqlite_path(source.uri), source.policy, roots)
        if not path.is_file():
            raise source.refusal("is a folder; name the database's file")
    elif not parts.hostname or not parts.path.strip("/"):
        raise source.refusal(
            f"names no host or no database; write it like {scheme}://host/database",
            reason="INVALID_FIELD",
        )


def _local_path(field: str, uri: str, scheme: str) -> Path:
    if not uri.strip():
        raise InvalidArgument(field, "is empty; name a file, a folder or sample://NAME")
    text = uri
    if scheme:
        parts = split_uri(field, uri)
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
