"""Remote data: real servers on this machine, what is fetched of them, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from seedbed_sdk.errors import FailedPrecondition, InvalidArgument, Unavailable
from seedbed_sdk.readers import Reader
from seedbed_server.data import addresses, references
from seedbed_server.data.references import (
    DataSource,
    Policy,
    ResolvedSource,
    fetch,
    fingerprint,
    resolve,
    resolve_unchanged,
    verify_unchanged,
)
from seedbed_server.data.sources import shown
from tests.certificates import Certificate

CSV = b"a,b\n1,x\n2,y\n"
ETAG = {"ETag": '"1"'}


@dataclass
class Answer:
    """What the server says of a path; `length` is said in place of the true one."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class Web:
    """A server whose answers are set by path; `hosts` are the Host headers that came."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.scheme = "http" if tls is None else "https"
        self.answers: dict[str, Answer] = {}
        self.hosts: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.hosts.append(self.headers["Host"])
                answer = web.answers.get(self.path, Answer(status=404))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                size = len(answer.body) if answer.length is None else answer.length
                self.send_header("Content-Length", str(size))
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = self._server.server_address[1]

    def uri(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.fixture
def open_policy(policy: Policy, tmp_path: Path) -> Policy:
    """Reads http, also of this machine."""
    return replace(
        policy,
        allowed_schemes=("file", "sample", "http", "https", "s3", "gs", "sqlite"),
        allow_private_addresses=True,
        remote_cache=tmp_path / "remote",
    )


def fetched(uri: str, policy: Policy) -> ResolvedSource:
    (source,) = fetch(resolve([DataSource(uri)], policy))
    return source


def refused(uri: str, policy: Policy) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        fetched(uri, policy)
    assert caught.value.violations[0].field == "dataset.sources[0].uri"
    return caught.value


def content(source: ResolvedSource) -> bytes:
    assert source.path is not None
    return source.path.read_bytes()


# --- what a URI may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "reason", "text"),
    [
        ("http:///x.csv", "INVALID_FIELD", "names no host"),
        ("http://host:port/x.csv", "INVALID_FIELD", "is no valid URI"),
        ("http://ho st/x.csv", "INVALID_FIELD", "neither spaces nor control characters"),
        ("http://host/\r\nX: 1", "INVALID_FIELD", "neither spaces nor control characters"),
        ("http://me:pw@host/x.csv", "CREDENTIALS_IN_URI", "http://host/x.csv has credentials"),
        ("s3://key:secret@bucket/x", "CREDENTIALS_IN_URI", "AWS_ACCESS_KEY_ID"),
        ("postgresql://me:pw@host/db", "CREDENTIALS_IN_URI", "PGHOST and PGPASSWORD"),
        ("s3://", "INVALID_FIELD", "names no bucket; write it like s3://bucket/folder/"),
        ("s3://../x", "INVALID_FIELD", "names no bucket"),
        ("ftp://host/x.csv", "SCHEME_NOT_ALLOWED", "start the server with --allow-scheme ftp"),
    ],
)
def test_refuses_uris(open_policy: Policy, uri: str, reason: str, text: str) -> None:
    policy = replace(open_policy, allowed_schemes=(*open_policy.allowed_schemes, "postgresql"))
    with pytest.raises(InvalidArgument) as caught:
        resolve([DataSource(uri)], policy)
    assert caught.value.reason == reason
    assert text in caught.value.message
    assert "pw" not in caught.value.message
    assert "secret" not in caught.value.message


def test_what_is_shown_of_a_uri_has_no_secrets() -> None:
    assert shown("https://u:p@host/x.csv?Signature=abc") == "https://host/x.csv?…"
    assert shown("s3://bucket/a/b") == "s3://bucket/a/b"
    assert shown("/a?b") == "/a?b"
    assert shown("file:///a@b/c") == "file:///a@b/c"


def test_a_query_is_for_databases(open_policy: Policy) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve([DataSource("http://host/x.csv", query="SELECT 1")], open_policy)
    assert caught.value.violations[0].field == "dataset.sources[0].query"


def test_resolving_asks_nobody(open_policy: Policy, web: Web) -> None:
    (source,) = resolve([DataSource(web.uri("/x.csv"))], open_policy)
    assert source.is_remote
    assert source.path is None
    assert web.hosts == []


# --- http -------------------------------------------------------------------------------------


def test_fetches_once_and_again_when_changed(open_policy: Policy, web: Web) -> None:
    web.answers["/d/x.csv"] = Answer(CSV, headers=ETAG)
    uri = web.uri("/d/x.csv", "localhost")
    first = fetched(uri, open_policy)
    assert content(first) == CSV
    assert first.path is not None
    assert first.path.name == "x.csv"
    assert web.hosts[0] == f"localhost:{web.port}"
    # Had the body been read again, the other contents would be there.
    web.answers["/d/x.csv"] = Answer(CSV[::-1], headers=ETAG)
    assert content(fetched(uri, open_policy)) == CSV
    web.answers["/d/x.csv"] = Answer(CSV + b"3,z\n", headers={"ETag": '"2"'})
    assert content(fetched(uri, open_policy)) == CSV + b"3,z\n"
    assert first.path.read_bytes() == CSV
    assert open_policy.remote_cache is not None
    assert not list(open_policy.remote_cache.glob(".partial-*"))


def test_a_job_notices_a_change(open_policy: Policy, web: Web) -> None:
    web.answers["/x.csv"] = Answer(CSV, headers=ETAG)
    sources = [DataSource(web.uri("/x.csv"))]
    before = fingerprint(resolve(sources, open_policy))
    assert before.size_bytes == len(CSV)
    known = (before.sha256, before.signature)
    assert resolve_unchanged(sources, open_policy, *known)[0].path is not None
    # A hash that fits nothing shows that contents are not compared while the signature fits.
    verify_unchanged(resolve(sources, open_policy), "0" * 64, before.signature)
    web.answers["/x.csv"] = Answer(CSV, headers={"ETag": '"2"'})
    resolve_unchanged(sources, open_policy, *known)
    web.answers["/x.csv"] = Answer(CSV[:-1], headers={"ETag": '"3"'})
    with pytest.raises(FailedPrecondition) as caught:
        resolve_unchanged(sources, open_policy, *known)
    assert caught.value.reason == "DATASET_CHANGED"
    del web.answers["/x.csv"]
    with pytest.raises(FailedPrecondition) as caught:
        resolve_unchanged(sources, open_policy, *known)
    assert caught.value.reason == "DATASET_VANISHED"


def test_without_marks_the_contents_tell(open_policy: Policy, web: Web) -> None:
    web.answers["/x.csv"] = Answer(CSV)
    sources = [DataSource(web.uri("/x.csv"))]
    before = fingerprint(resolve(sources, open_policy))
    assert fingerprint(resolve(sources, open_policy)) == before
    web.answers["/x.csv"] = Answer(CSV.replace(b"x", b"z"))
    after = fingerprint(resolve(sources, open_policy))
    assert after.signature != before.signature
    assert after.sha256 != before.sha256


def test_names_come_from_where_there_is_an_ending(open_policy: Policy, web: Web) -> None:
    def name(path: str, headers: dict[str, str]) -> str:
        web.answers[path] = Answer(CSV, headers={**ETAG, **headers})
        found = fetched(web.uri(path), open_policy).path
        assert found is not None
        return found.name

    assert name("/a%20b.csv", {}) == "a b.csv"
    assert name("/export?format=csv", {"Content-Type": "text/csv; charset=x"}) == "export.csv"
    given = {"Content-Disposition": 'attachment; filename="../../etc/t.tsv"'}
    assert name("/get?id=1", given) == "_.._etc_t.tsv"
    assert name("/", {}) == "data"
    web.answers["/old"] = Answer(status=302, headers={"Location": "/d/new.csv"})
    assert name("/d/new.csv", {}) == "new.csv"
    found = fetched(web.uri("/old"), open_policy).path
    assert found is not None
    assert found.name == "new.csv"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/x", "gopher://h/"])
def test_redirects_lead_to_no_other_scheme(open_policy: Policy, web: Web, location: str) -> None:
    web.answers["/x.csv"] = Answer(status=302, headers={"Location": location})
    error = refused(web.uri("/x.csv"), open_policy)
    assert error.reason == "BAD_REDIRECT"
    assert "is redirected to" in error.message


def test_redirects_end(open_policy: Policy, web: Web) -> None:
    for i in range(6):
        web.answers[f"/{i}"] = Answer(status=307, headers={"Location": f"/{i + 1}"})
    web.answers["/6"] = Answer(CSV)
    assert "is redirected more than 5 times" in refused(web.uri("/0"), open_policy).message
    assert content(fetched(web.uri("/1"), open_policy)) == CSV


def test_a_scheme_that_is_not_allowed_is_not_followed(open_policy: Policy, web: Web) -> None:
    policy = replace(open_policy, allowed_schemes=("http",))
    web.answers["/x.csv"] = Answer(status=302, headers={"Location": "https://host/x.csv"})
    assert refused(web.uri("/x.csv"), policy).reason == "BAD_REDIRECT"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_private_addresses_are_refused(open_policy: Policy, web: Web, host: str) -> None:
    policy = replace(open_policy, allow_private_addresses=False)
    web.answers["/x.csv"] = Answer(CSV)
    error = refused(web.uri("/x.csv", host), policy)
    assert error.reason == "PRIVATE_ADDRESS"
    assert "which is not on the public internet" in error.message
    assert "--allow-private-addresses" in error.message
    assert web.hosts == []


def test_redirects_lead_to_no_private_address(
    open_policy: Policy, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = replace(open_policy, allow_private_addresses=False)
    # No test reaches the internet: this machine stands for the public one, by one of its names.
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    for location in ("http://127.0.0.2/x", "http://169.254.169.254/latest", "http://[::1]/"):
        web.answers["/x.csv"] = Answer(status=302, headers={"Location": location})
        assert refused(web.uri("/x.csv"), policy).reason == "PRIVATE_ADDRESS"
    web.answers["/x.csv"] = Answer(CSV)
    assert content(fetched(web.uri("/x.csv"), policy)) == CSV


def test_the_connection_goes_to_the_address_that_was_checked(
    open_policy: Policy, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []
    known = socket.getaddrinfo

    def look_up(host: str, *args: Any, **options: Any) -> Any:
        lookups.append(host)
        # A name that leads to this machine the first time, and elsewhere from then on.
        named = host == "data.example.org"
        address = ("127.0.0.1" if lookups.count(host) == 1 else "192.0.2.1") if named else host
        return known(address, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    web.answers["/x.csv"] = Answer(CSV)
    assert content(fetched(web.uri("/x.csv", "data.example.org"), open_policy)) == CSV
    assert web.hosts == [f"data.example.org:{web.port}"]
    assert lookups.count("data.example.org") == 1


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::101:101", True),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert addresses.is_public(address) is public


def test_answers_that_are_no_data(open_policy: Policy, web: Web) -> None:
    error = refused(web.uri("/none.csv"), open_policy)
    assert error.reason == "NOT_FOUND"
    assert "the server answers 404 Not Found" in error.message
    web.answers["/x?token=hidden"] = Answer(status=403)
    error = refused(web.uri("/x?token=hidden"), open_policy)
    assert "answers 403" in error.message
    assert "hidden" not in error.message
    web.answers["/x"] = Answer(CSV, headers={"Content-Encoding": "br"})
    assert "is sent packed as 'br'" in refused(web.uri("/x"), open_policy).message
    for status in (429, 500, 503):
        web.answers["/x"] = Answer(status=status)
        with pytest.raises(Unavailable, match=f"answers {status}"):
            fetched(web.uri("/x"), open_policy)


def test_what_breaks_off_is_not_kept(open_policy: Policy, web: Web) -> None:
    web.answers["/x.csv"] = Answer(CSV, headers={**ETAG, "Connection": "close"}, length=100)
    with pytest.raises(Unavailable, match="broke off or timed out"):
        fetched(web.uri("/x.csv"), open_policy)
    assert open_policy.remote_cache is not None
    assert list(open_policy.remote_cache.iterdir()) == []


def test_no_server_there(open_policy: Policy, web: Web) -> None:
    web.close()
    with pytest.raises(Unavailable, match="no connection to"):
        fetched(web.uri("/x.csv"), open_policy)


def test_bytes_are_bounded_whatever_the_server_says(open_policy: Policy, web: Web) -> None:
    small = replace(open_policy, max_unpacked_bytes=10_000)
    web.answers["/x.csv"] = Answer(CSV, length=10_001, headers=ETAG)
    error = refused(web.uri("/x.csv"), small)
    assert error.reason == "REMOTE_TOO_LARGE"
    assert "has 10,001 bytes; at most 10,000 are fetched" in error.message
    server = _Endless()
    try:
        error = refused(server.uri, small)
        assert "more than 10,000 bytes" in error.message
        assert server.sent < 50 * 2**20
    finally:
        server.close()


class _Endless:
    """A server that never stops to send, and says no length."""

    def __init__(self) -> None:
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        outer.sent += self.wfile.write(b"x" * 2**16)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}/x.csv"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_time_is_bounded(open_policy: Policy) -> None:
    server = _Endless()
    try:
        with pytest.raises(Unavailable, match=r"was not fetched within 0\.2 s"):
            fetched(server.uri, replace(open_policy, fetch_seconds=0.2))
    finally:
        server.close()


def test_old_data_makes_room(open_policy: Policy, web: Web) -> None:
    policy = replace(open_policy, max_remote_cache_bytes=len(CSV))
    paths = []
    for i in range(3):
        web.answers[f"/{i}.csv"] = Answer(CSV, headers=ETAG)
        path = fetched(web.uri(f"/{i}.csv"), policy).path
        assert path is not None
        paths.append(path)
    # Used today: all stay, however little room there is.
    assert all(path.exists() for path in paths)
    assert policy.remote_cache is not None
    left = policy.remote_cache / ".partial-left"
    left.mkdir()
    for i, folder in enumerate([paths[0].parent, paths[1].parent, left]):
        os.utime(folder, (time.time() - 90_000 + i,) * 2)
    fetched(web.uri("/1.csv"), policy)
    web.answers["/3.csv"] = Answer(CSV, headers=ETAG)
    fetched(web.uri("/3.csv"), policy)
    assert [path.exists() for path in paths] == [False, True, True]
    assert not left.exists()


def test_two_fetch_the_same_at_once(open_policy: Policy, web: Web) -> None:
    web.answers["/x.csv"] = Answer(CSV * 100_000, headers=ETAG)
    found: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(content(fetched(web.uri("/x.csv"), open_policy)))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CSV * 100_000] * 4
    assert open_policy.remote_cache is not None
    assert len(list(open_policy.remote_cache.iterdir())) == 1


def test_the_cache_is_no_place_that_users_may_name(open_policy: Policy, web: Web) -> None:
    web.answers["/x.csv"] = Answer(CSV, headers=ETAG)
    path = fetched(web.uri("/x.csv"), open_policy).path
    error = refused(str(path), open_policy)
    assert error.reason == "OUTSIDE_ALLOWED_ROOTS"


# --- object stores ----------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes], None]]:
    """Puts objects into the bucket `data` of a real server."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # What is kept in memory outlives the server.
    reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3")
    client.create_bucket(Bucket="data")
    yield lambda name, body: client.put_object(Bucket="data", Key=name, Body=body)
    server.stop()


def test_objects_and_folders(open_policy: Policy, bucket: Callable[[str, bytes], None]) -> None:
    bucket("t/x.csv", CSV)
    bucket("t/sub/y.bin", b"y" * (9 * 2**20))
    bucket("t/empty", b"")
    bucket("t/folder/", b"")
    bucket("tt/other", b"o")
    assert content(fetched("s3://data/t/x.csv", open_policy)) == CSV
    for uri in ("s3://data/t/", "s3://data/t"):
        folder = fetched(uri, open_policy)
        files = {name: path.stat().st_size for name, path in folder.files()}
        assert files == {"x.csv": len(CSV), "sub/y.bin": 9 * 2**20, "empty": 0}
        assert folder.path is not None
        assert folder.path.name == "t"
    sources = [DataSource("s3://data/t/")]
    before = fingerprint(resolve(sources, open_policy))
    resolve_unchanged(sources, open_policy, before.sha256, before.signature)
    bucket("t/x.csv", CSV.replace(b"x", b"z"))
    with pytest.raises(FailedPrecondition) as caught:
        resolve_unchanged(sources, open_policy, before.sha256, before.signature)
    assert caught.value.reason == "DATASET_CHANGED"


def test_objects_that_are_not_there(
    open_policy: Policy, bucket: Callable[[str, bytes], None]
) -> None:
    for uri in ("s3://data/none.csv", "s3://data/none/", "s3://nobucket/x.csv", "s3://data"):
        assert refused(uri, open_policy).reason == "NOT_FOUND"


def test_objects_are_bounded_and_lead_nowhere(
    open_policy: Policy, bucket: Callable[[str, bytes], None]
) -> None:
    for i in range(4):
        bucket(f"many/{i}", b"x" * 100)
    few = replace(open_policy, max_files=3)
    assert refused("s3://data/many/", few).reason == "TOO_MANY_FILES"
    small = replace(open_policy, max_unpacked_bytes=399)
    assert refused("s3://data/many/", small).reason == "REMOTE_TOO_LARGE"
    bucket("up/a/../../../evil.csv", CSV)
    bucket("up/ok.csv", CSV)
    assert refused("s3://data/up/", open_policy).reason == "UNSAFE_NAME"
    bucket("both/x", CSV)
    bucket("both/x/y", CSV)
    error = refused("s3://data/both/", open_policy)
    assert "has the object 'x' and objects below it" in error.message


def test_a_store_without_credentials(open_policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    error = refused("s3://data/x.csv", open_policy)
    assert "environment" in error.message


def test_a_store_that_is_not_there(
    open_policy: Policy, monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    pytest.importorskip("s3fs")
    web.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.uri(""))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(Unavailable, match="try again"):
        fetched("s3://data/x.csv", open_policy)


# --- schemes of plugins -----------------------------------------------------------------------


def test_a_plugins_scheme(open_policy: Policy) -> None:
    reads: list[str] = []

    def read(uri: str) -> pd.DataFrame:
        reads.append(uri)
        return pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})

    versions = iter(["1", "1", "2"])
    reader = Reader(read, schemes=("made",), version=lambda _: next(versions))
    policy = replace(
        open_policy, allowed_schemes=("made",), readers=dict.fromkeys(reader.keys, reader)
    )
    for count in (1, 1, 2):
        found = fetched("made://up/table", policy)
        assert found.path is not None
        assert found.path.name == "table.arrow"
        assert reads == ["made://up/table"] * count


def test_a_scheme_that_no_plugin_reads(open_policy: Policy) -> None:
    policy = replace(open_policy, allowed_schemes=("made",))
    error = refused("made://up", policy)
    assert error.reason == "UNKNOWN_SCHEME"
    assert "has the scheme 'made', which no installed plugin reads" in error.message


def test_what_a_reader_raises_is_told(open_policy: Policy) -> None:
    def read(uri: str) -> pd.DataFrame:
        raise RuntimeError("the tape is torn; mend it")

    policy = replace(
        open_policy, allowed_schemes=("made",), readers={"made:": Reader(read, ("made",))}
    )
    assert "plugin for made: the tape is torn; mend it" in refused("made://up", policy).message


def test_readers_name_what_they_read() -> None:
    for schemes, suffixes in [((), ()), (("Upper",), ()), ((), ("csv",))]:
        with pytest.raises(ValueError, match="a reader needs schemes"):
            Reader(lambda _: pd.DataFrame(), schemes, suffixes)


def test_the_policy_travels_as_json(open_policy: Policy) -> None:
    assert Policy.from_dict(json.loads(json.dumps(open_policy.to_dict()))) == open_policy
    assert references.Policy is Policy


# --- https ---------------------------------------------------------------------------------------


def serve(certificate: Certificate) -> Web:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    return Web(context)


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """An https server whose certificate this machine trusts, as one of a company's own."""
    certificate = Certificate.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    server = serve(certificate)
    yield server
    server.close()


def test_https(secure: Web, open_policy: Policy) -> None:
    secure.answers["/t.csv"] = Answer(CSV, headers=ETAG)
    assert content(fetched(secure.uri("/t.csv", "localhost"), open_policy)) == CSV


def test_a_certificate_of_another_name(secure: Web, open_policy: Policy) -> None:
    secure.answers["/t.csv"] = Answer(CSV)
    error = refused(secure.uri("/t.csv"), open_policy)
    assert "has no connection to be trusted" in error.message
    assert "127.0.0.1" in error.message
    assert not secure.hosts, "nothing was asked of it"


@pytest.mark.parametrize("days", [1, -1])
def test_a_certificate_that_is_not_trusted(
    days: int, tmp_path: Path, open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody here knows, and one that has expired."""
    certificate = Certificate.make(tmp_path, days=days)
    if days < 0:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    server = serve(certificate)
    try:
        error = refused(server.uri("/t.csv", "localhost"), open_policy)
    finally:
        server.close()
    assert "has no connection to be trusted" in error.message
    assert ("expired" if days < 0 else "self-signed") in error.message.replace(" ", "-")
    assert not server.hosts


def test_https_is_not_led_to_http(secure: Web, web: Web, open_policy: Policy) -> None:
    web.answers["/t.csv"] = Answer(CSV)
    secure.answers["/t.csv"] = Answer(status=302, headers={"Location": web.uri("/t.csv")})
    error = refused(secure.uri("/t.csv", "localhost"), open_policy)
    assert error.reason == "BAD_REDIRECT"
    assert "is redirected from https to" in error.message
    assert not web.hosts
