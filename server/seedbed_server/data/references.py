"""References to data: where it is, whether it may be read, and whether it is still the same.

Free of pandas and numpy: the API process uses it too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed_sdk.errors import FailedPrecondition, FieldViolation, InvalidArgument
from seedbed_server.data.folders import unreadable
from seedbed_server.data.sources import SPLITS, DataSource, Policy, ResolvedSource, shown
from seedbed_server.data.uris import refuse_kept_upload, resolve_one

__all__ = [
    "SPLITS",
    "DataSource",
    "Fingerprint",
    "Policy",
    "ResolvedSource",
    "fetch",
    "fingerprint",
    "refuse_kept_upload",
    "resolve",
    "resolve_unchanged",
    "signature",
    "verify_unchanged",
]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`sha256` is over names and contents. `signature` changes whenever a file's size or times do,
    and is cheap to take."""

    sha256: str
    size_bytes: int
    signature: str


def resolve(sources: Sequence[DataSource], policy: Policy) -> list[ResolvedSource]:
    """Checks that every source can and may be read; asks no other machine.

    Raises InvalidArgument with a violation for each that is not: `dataset.sources[i].uri`,
    `.split` or `.query`, or `dataset.sources` where there are none.
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
            resolved.append(resolve_one(index, source, policy, roots))
        except InvalidArgument as error:
            refusals.append(error)
    if refusals:
        violations = [violation for error in refusals for violation in error.violations]
        raise InvalidArgument.of(violations, reason=refusals[0].reason)
    return resolved


def fetch(resolved: Sequence[ResolvedSource]) -> list[ResolvedSource]:
    """The sources with remote ones fetched, so that each has a path or is a sample.

    What was fetched before and has not changed is not fetched again. Belongs in a process other
    than the API's: it loads large libraries. Raises InvalidArgument where data cannot or may not
    be read, and Unavailable where trying again may help.
    """
    if not any(source.is_remote and source.path is None for source in resolved):
        return list(resolved)
    from seedbed_server.data.remote import fetch_all

    return fetch_all(resolved)


def fingerprint(resolved: Sequence[ResolvedSource]) -> Fingerprint:
    """Reads everything once, in sorted order; fetches what is remote.

    Raises InvalidArgument where a file cannot be read or a folder holds what may not be read, and
    as `fetch` does.
    """
    resolved = fetch(resolved)
    whole = hashlib.sha256()
    size = 0
    for source in resolved:
        _add(whole, _kind(source))
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
    """The cheap part of a fingerprint, with a piece for each source: names, sizes and times, or the
    version of what is remote, which is fetched if there is no other way to know."""
    pieces = []
    for source in resolved:
        piece = hashlib.sha256(_kind(source).encode())
        if source.is_remote:
            _add(piece, source.version or _remote_version(source))
            pieces.append(piece.hexdigest()[:32])
            continue
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
    """`resolve` and `fetch`, for data that was already accepted once: raises FailedPrecondition
    where it has vanished, may no longer be read or has changed."""
    try:
        resolved = fetch(resolve(sources, policy))
    except InvalidArgument as error:
        raise _vanished(error) from error
    verify_unchanged(resolved, fingerprint_sha256, known_signature)
    return resolved


def _kind(source: ResolvedSource) -> str:
    """What a fingerprint holds beside contents; a role is in it only where there is one, so that
    the fingerprints of data without stay what they were."""
    kind = f"{source.split}\0{source.sample}"
    return f"{kind}\0{source.role}" if source.role else kind


def _remote_version(source: ResolvedSource) -> str:
    from seedbed_server.data.remote import version_of

    return version_of(source)


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
    if source.source.query:
        return f"{shown(source.uri)} (rows come in no certain order without ORDER BY)"
    if source.is_remote or source.path is None:
        return shown(source.uri)
    if not source.path.is_dir():
        return str(source.path)
    files = _files_of(source)
    if not files:
        return f"{source.path} (no files are left)"
    newest = max(files, key=lambda item: item[1].stat().st_ctime_ns)
    return f"{source.path} (the latest change is to {newest[0]})"
