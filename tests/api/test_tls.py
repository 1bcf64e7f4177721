"""TLS: files that will not do, certificates that are not trusted, files that change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from seedbed.credentials import Credentials
from seedbed.v1 import tasks_pb2
from seedbed_server.errors import StartupError
from seedbed_server.settings import Settings, require_safe_address
from seedbed_server.tls import ChangingTls, TlsFiles
from tests.api.harness import Calls, Harness, launch
from tests.api.test_lifecycle import run
from tests.certificates import Certificate


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate.make(tmp_path / "certificate")


def why(files: TlsFiles) -> str:
    with pytest.raises(StartupError) as caught:
        files.read()
    return caught.value.message


def test_files_that_will_not_do_are_named_with_their_setting(
    certificate: Certificate, tmp_path: Path
) -> None:
    other = Certificate.make(tmp_path / "other")
    absent, text = tmp_path / "absent.pem", tmp_path / "text.pem"
    text.write_text("hello")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    path, key = certificate.path, certificate.key
    assert why(TlsFiles(absent, key)) == (
        f"server_certificate: cannot read {absent}: No such file or directory; name a PEM file "
        "that this server's user may read"
    )
    assert why(TlsFiles(path, tmp_path)).startswith(f"server_key: cannot read {tmp_path}: Is a")
    assert why(TlsFiles(text, key)).startswith(f"server_certificate: {text} has no line `-----BEG")
    assert why(TlsFiles(path, path)).startswith(f"server_key: {path} has no line `-----BEGIN … PR")
    assert why(TlsFiles(path, other.key)) == (
        f"server_key: {other.key} is not the key of the first certificate in {path}; name the key "
        "that it was made with"
    )
    assert why(TlsFiles(broken, key)).startswith(f"server_certificate, server_key: {broken} and ")
    encrypted = certificate.encrypt_key(b"password")
    assert why(TlsFiles(path, encrypted)).startswith(f"server_key: {encrypted} is encrypted, and")
    assert why(TlsFiles(path, key, text)).startswith(f"client_ca: {text} has no line")
    assert why(TlsFiles(path, key, broken)).startswith(f"client_ca: {broken} holds no certificate")
    assert TlsFiles(path, key, other.path).read().client_ca == other.path.read_bytes()


def test_changed_files_are_read_once_they_fit(certificate: Certificate, tmp_path: Path) -> None:
    tls = ChangingTls(TlsFiles(certificate.path, certificate.key))
    first = tls.material
    assert tls.changed() is None
    new = Certificate.make(tmp_path / "new")
    new.path.replace(certificate.path)
    assert tls.changed() is None, "the new certificate does not fit the old key"
    certificate.key.rename(tmp_path / "old.pem")
    assert tls.changed() is None, "there is no key just now"
    assert tls.material is first
    new.key.replace(certificate.key)
    changed = tls.changed()
    assert changed is tls.material is not first
    assert tls.changed() is None


PEM = {"server_certificate": Path("c.pem"), "server_key": Path("k.pem")}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"server_key": Path("k.pem")}, "server_key is given and server_certificate is not"),
        ({"server_certificate": Path("c.pem")}, "server_certificate is given and server_key is"),
        ({"client_ca": Path("c.pem")}, "client_ca is given and server_certificate is not"),
        ({**PEM, "address": "unix:/tmp/s"}, "TLS is for HOST:PORT, and address 'unix:/tmp/s'"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(StartupError) as caught:
        Settings(**settings).tls_files()
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, "--server-certificate and --server-key, and --require-tokens;"),
        (PEM, "pass --require-tokens;"),
        ({"require_tokens": True}, "pass --server-certificate and --server-key;"),
    ],
)
def test_other_machines_need_tls_and_tokens(settings: dict[str, Any], missing: str) -> None:
    address = "0.0.0.0:8470"
    with pytest.raises(StartupError) as caught:
        require_safe_address(Settings(address=address, **settings))
    assert missing in caught.value.message
    require_safe_address(Settings(address="127.0.0.1:8470", **settings))
    require_safe_address(Settings(address=address, insecure=True, **settings))
    require_safe_address(Settings(address=address, require_tokens=True, **PEM))


def test_a_key_of_another_certificate_stops_the_start(
    certificate: Certificate, tmp_path: Path
) -> None:
    other = Certificate.make(tmp_path / "other")
    options = ("--server-certificate", str(certificate.path), "--server-key", str(other.key))
    ended = run(tmp_path / "data", *options)
    assert ended.returncode == 1
    assert "is not the key of the first certificate in" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert other.key.read_text().splitlines()[1] not in ended.stderr


@dataclass
class House:
    """A server that asks for certificates, who signs them, and one that it lets in."""

    server: Harness
    certificate: Certificate
    authority: Certificate
    client: Certificate

    def credentials(self, client: Certificate | None, ca: Certificate) -> Credentials:
        if client is None:
            return Credentials(tls=True, ca=ca.path.read_bytes())
        pem = (client.path.read_bytes(), client.key.read_bytes())
        return Credentials("", True, ca.path.read_bytes(), *pem)

    def why_not(self, credentials: Credentials) -> str:
        """How a call fails; empty where it does not."""
        with self.server.calls(credentials) as calls:
            return failure(calls)


def failure(calls: Calls) -> str:
    try:
        calls.tasks.ListTasks(tasks_pb2.ListTasksRequest(), timeout=20)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        return error.details() or "no details"
    return ""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = Certificate.make(folder / "server")
    authority = Certificate.make(folder / "authority", host="authority")
    client = Certificate.make(folder / "client", host="somebody", signer=authority)
    options = (
        *("--server-certificate", str(certificate.path), "--server-key", str(certificate.key)),
        *("--client-ca", str(authority.path)),
    )
    with launch(folder / "data", *options, address="localhost:0") as server:
        yield House(server, certificate, authority, client)


def test_a_client_with_a_certificate_is_let_in(house: House) -> None:
    assert house.why_not(house.credentials(house.client, house.certificate)) == ""


def test_a_client_without_tls_is_not(house: House) -> None:
    assert house.why_not(Credentials())


def test_a_client_without_a_certificate_is_not(house: House) -> None:
    assert house.why_not(house.credentials(None, house.certificate))


def test_a_client_with_a_strangers_certificate_is_not(house: House, tmp_path: Path) -> None:
    stranger = Certificate.make(tmp_path / "stranger", host="authority")
    forged = Certificate.make(tmp_path / "forged", host="somebody", signer=stranger)
    assert house.why_not(house.credentials(forged, house.certificate))


def test_a_client_with_an_expired_certificate_is_not(house: House, tmp_path: Path) -> None:
    old = Certificate.make(tmp_path / "old", days=-1, host="somebody", signer=house.authority)
    assert house.why_not(house.credentials(old, house.certificate))


def test_a_server_that_is_not_trusted_hears_nothing(house: House, tmp_path: Path) -> None:
    other = Certificate.make(tmp_path / "other")
    assert "CERTIFICATE_VERIFY_FAILED" in house.why_not(house.credentials(house.client, other))


def test_a_new_certificate_is_taken_up_without_a_restart(house: House, tmp_path: Path) -> None:
    before = house.credentials(house.client, house.certificate)
    old = house.certificate.path.read_bytes(), house.certificate.key.read_bytes()
    with house.server.calls(before) as calls:
        assert failure(calls) == ""
        new = Certificate.make(tmp_path / "new")
        after = house.credentials(house.client, new)
        new.path.replace(house.certificate.path)
        new.key.replace(house.certificate.key)
        assert house.why_not(after) == ""
        assert "CERTIFICATE_VERIFY_FAILED" in house.why_not(before)
        assert failure(calls) == "", "a connection that is there stays"
    # An expired one is the clients' to refuse.
    expired = Certificate.make(tmp_path / "expired", days=-1)
    trusting = house.credentials(house.client, expired)
    expired.path.replace(house.certificate.path)
    expired.key.replace(house.certificate.key)
    assert "expired" in house.why_not(trusting)
    house.certificate.path.write_bytes(old[0])
    house.certificate.key.write_bytes(old[1])
    assert house.why_not(before) == ""
    log = house.server.log.read_text()
    assert "tls_files_read" in log
    assert old[1].splitlines()[1].decode() not in log
