"""Google Cloud Storage: gcsfs against an emulator of the service, and against answers of errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seedbed_sdk.errors import FailedPrecondition, InvalidArgument, Unavailable
from seedbed_server.data.references import (
    DataSource,
    Policy,
    ResolvedSource,
    fetch,
    fingerprint,
    resolve,
    resolve_unchanged,
)
from tests.running_databases import free_port

gcsfs = pytest.importorskip("gcsfs", reason="install seedbed[gcs]")

CSV = b"a,b\n1,x\n2,y\n"

Put = Callable[[str, bytes], None]


@pytest.fixture
def open_policy(policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Policy:
    """Without credentials, which Google's library would else look for on the network."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return replace(policy, allowed_schemes=("gs",), remote_cache=tmp_path / "remote")


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Puts objects into the bucket `data` of an emulator, which is the only store there is."""
    emulator = pytest.importorskip(
        "gcp_storage_emulator.server", reason="install gcp-storage-emulator"
    )
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="data")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    store = gcsfs.core.GCSFileSystem(skip_instance_cache=True)
    yield lambda name, body: store.pipe_file(f"data/{name}", body)
    server.stop()


@contextmanager
def answering(status: int, message: str) -> Iterator[str]:
    """The address of a store that answers everything with an error, as the service words them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f'{{"error": {{"code": {status}, "message": "{message}"}}}}'.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(uri: str, policy: Policy) -> ResolvedSource:
    (source,) = fetch(resolve([DataSource(uri)], policy))
    return source


def refused(uri: str, policy: Policy) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        fetched(uri, policy)
    assert caught.value.violations[0].field == "dataset.sources[0].uri"
    return caught.value


def test_objects_and_folders(open_policy: Policy, put: Put) -> None:
    put("t/x.csv", CSV)
    put("t/sub/y.bin", b"y" * (9 * 2**20))
    put("t/empty", b"")
    put("t/folder/", b"")
    put("tt/other", b"o")
    path = fetched("gs://data/t/x.csv", open_policy).path
    assert path is not None
    assert (path.name, path.read_bytes()) == ("x.csv", CSV)
    for uri in ("gs://data/t/", "gs://data/t"):
        folder = fetched(uri, open_policy)
        files = {name: found.stat().st_size for name, found in folder.files()}
        assert files == {"x.csv": len(CSV), "sub/y.bin": 9 * 2**20, "empty": 0}


def test_a_job_notices_a_change(open_policy: Policy, put: Put) -> None:
    put("t/x.csv", CSV)
    sources = [DataSource("gs://data/t/")]
    before = fingerprint(resolve(sources, open_policy))
    resolve_unchanged(sources, open_policy, before.sha256, before.signature)
    put("t/x.csv", CSV.replace(b"x", b"z"))
    with pytest.raises(FailedPrecondition) as caught:
        resolve_unchanged(sources, open_policy, before.sha256, before.signature)
    assert caught.value.reason == "DATASET_CHANGED"


def test_objects_that_are_not_there(open_policy: Policy, put: Put) -> None:
    for uri in ("gs://data/none.csv", "gs://data/none/", "gs://nobucket/x.csv", "gs://data"):
        assert refused(uri, open_policy).reason == "NOT_FOUND"


def test_objects_are_bounded(open_policy: Policy, put: Put) -> None:
    for i in range(4):
        put(f"many/{i}", b"x" * 100)
    assert refused("gs://data/many/", replace(open_policy, max_files=3)).reason == "TOO_MANY_FILES"
    small = replace(open_policy, max_unpacked_bytes=399)
    assert refused("gs://data/many/", small).reason == "REMOTE_TOO_LARGE"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "Anonymous caller does not have storage.objects.get access"),
        (403, "me@example.org does not have storage.objects.get access"),
        (400, "The name is invalid"),
    ],
)
def test_what_may_not_be_read(
    status: int, message: str, open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, message) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        said = refused("gs://data/x.csv", open_policy).message
    assert message in said
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said
    assert "\n" not in said


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 503])
def test_a_store_that_cannot_answer(
    status: int, open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not there (0), or fails; gcsfs asks for half a minute."""
    with answering(status, "later") as address:
        nowhere = f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address if status else nowhere)
        with pytest.raises(Unavailable, match="try again"):
            fetched("gs://data/x.csv", open_policy)
