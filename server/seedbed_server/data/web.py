"""Data at http and https URIs. Redirects are followed by hand, and each connection goes to an
address that was checked."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from seedbed_sdk.errors import Unavailable
from seedbed_server import __version__
from seedbed_server.data.addresses import checked_addresses
from seedbed_server.data.remote import Found, Limits
from seedbed_server.data.sources import ResolvedSource, shown
from seedbed_server.data.uris import split_uri

MAX_REDIRECTS = 5

_REDIRECTS = (301, 302, 303, 307, 308)
_QUIET_SECONDS = 30.0
_UNSAFE = re.compile(r"[^\w .()+=,~@-]+")
# Endings for files whose URI has none.
_ENDINGS = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/json": ".json",
    "application/zip": ".zip",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.apache.arrow.file": ".arrow",
}


@contextmanager
def find(source: ResolvedSource, limits: Limits) -> Iterator[Found]:
    """What a GET of the URI answers, whose body is read only when it is saved.

    Its version comes from the headers ETag or Last-Modified. Raises InvalidArgument for redirects
    to other schemes or to hosts that may not be reached, and for answers other than 200;
    Unavailable where the server cannot be reached or is not able to answer.
    """
    connection, response, uri = _get(source, limits)
    try:
        _check_answer(source, response)

        def save(target: Path) -> None:
            with _named_errors(source), target.open("wb") as file:
                # One that waits for all of a piece could wait for ever, a byte at a time.
                size = limits.copy(response.read1, file)
                length = response.headers.get("Content-Length", "")
                if length.isdecimal() and size != int(length):
                    raise http.client.IncompleteRead(b"", int(length) - size)

        yield Found(_name(source.uri, uri, response.headers), _version(response.headers), save)
    finally:
        connection.close()


def _get(
    source: ResolvedSource, limits: Limits
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, str]:
    uri = source.uri
    for _ in range(MAX_REDIRECTS + 1):
        parts = split_uri(source.field, uri)
        connection = _connect(source, parts, limits)
        try:
            with _named_errors(source):
                path = parts.path or "/"
                target = f"{path}?{parts.query}" if parts.query else path
                agent = {"User-Agent": f"seedbed/{__version__}", "Accept-Encoding": "identity"}
                connection.request("GET", target, headers=agent)
                response = connection.getresponse()
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not location:
                return connection, response, uri
        except BaseException:
            connection.close()
            raise
        connection.close()
        uri = urljoin(uri, location)
        _check_redirect(source, uri)
    raise source.refusal(f"is redirected more than {MAX_REDIRECTS} times", reason="BAD_REDIRECT")


def _check_redirect(source: ResolvedSource, uri: str) -> None:
    parts = split_uri(source.field, uri)
    if parts.scheme not in ("http", "https") or parts.scheme not in source.policy.allowed_schemes:
        raise source.refusal(
            f"is redirected to {shown(uri)!r}, whose scheme {parts.scheme!r} may not be followed",
            reason="BAD_REDIRECT",
        )
    if source.scheme == "https" and parts.scheme == "http":
        raise source.refusal(
            f"is redirected from https to {shown(uri)!r}, which is not protected; name that URI "
            "itself if you trust the network",
            reason="BAD_REDIRECT",
        )
    if not parts.hostname or parts.username is not None or not uri.isascii() or " " in uri:
        raise source.refusal(f"is redirected to {shown(uri)!r}", reason="BAD_REDIRECT")


def _connect(
    source: ResolvedSource, parts: SplitResult, limits: Limits
) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    last: OSError | None = None
    for address in checked_addresses(source, host, port):
        try:
            timeout = min(_QUIET_SECONDS, limits.seconds_left())
            raw = socket.create_connection((address, port), timeout)
        except OSError as error:
            last = error
            continue
        try:
            if secure:
                raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
        except (OSError, ValueError) as error:
            raw.close()
            raise source.refusal(f"has no connection to be trusted: {error}") from error
        # With a socket already there it makes none of its own, by name.
        connection = http.client.HTTPConnection(host, port)
        connection.sock = raw
        if not parts.port or port == (443 if secure else 80):
            connection.port = connection.default_port = port
        return connection
    raise Unavailable(f"{shown(source.uri)}: no connection to {host}:{port} ({last}); try again")


def _check_answer(source: ResolvedSource, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status == 429 or status >= 500:
        raise Unavailable(
            f"{shown(source.uri)}: the server answers {status} {response.reason}; try again"
        )
    if status != 200:
        raise source.refusal(
            f"cannot be read: the server answers {status} {response.reason}",
            reason="NOT_FOUND" if status in (404, 410) else "UNREADABLE",
        )
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    packed = urlsplit(source.uri).path.lower().endswith((".gz", ".tgz", ".zst"))
    if coding not in ("identity", "") and not packed:
        raise source.refusal(
            f"is sent packed as {coding!r}, which was not asked for; name a URI that gives the "
            "file as it is"
        )
    length = response.headers.get("Content-Length", "")
    most = source.policy.max_unpacked_bytes
    if length.isdecimal() and int(length) > most:
        raise source.refusal(
            f"has {int(length):,} bytes; at most {most:,} are fetched", reason="REMOTE_TOO_LARGE"
        )


@contextmanager
def _named_errors(source: ResolvedSource) -> Iterator[None]:
    try:
        yield
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        why = str(error) or type(error).__name__
        raise Unavailable(
            f"{shown(source.uri)}: the connection broke off or timed out ({why}); try again"
        ) from error


def _version(headers: Message) -> str:
    """Empty where the server says nothing that would change with the contents."""
    marks = [headers.get(name, "") for name in ("ETag", "Last-Modified")]
    return "\0".join([*marks, headers.get("Content-Length", "")]) if any(marks) else ""


def _name(uri: str, final: str, headers: Message) -> str:
    """A name for the file, with an ending where one can be found."""
    candidates = [
        unquote(PurePosixPath(urlsplit(uri).path).name),
        headers.get_filename() or "",
        unquote(PurePosixPath(urlsplit(final).path).name),
    ]
    names = [_UNSAFE.sub("_", name)[-150:].strip(". ") for name in candidates]
    for name in names:
        if PurePosixPath(name).suffix:
            return name
    return (names[0] or "data") + _ENDINGS.get(headers.get_content_type(), "")
