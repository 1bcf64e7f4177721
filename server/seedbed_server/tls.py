"""The server's certificate and key, and whose certificates it trusts: read, checked, read again."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import structlog

from seedbed_server.errors import StartupError

log = structlog.get_logger()

Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With a `client_ca` every client has to show a certificate that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> TlsMaterial:
        """What is in them now. Raises StartupError that names the setting, the file and what would
        do."""
        before = self.signature()
        certificate = _read("server_certificate", self.certificate)
        key = _read("server_key", self.key)
        client_ca = None if self.client_ca is None else _read("client_ca", self.client_ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A certificate by itself first, so that an error says which of the two files is at fault.
        _check_pem("server_certificate", self.certificate, certificate, b"CERTIFICATE-----")
        _check_pem("server_key", self.key, key, b"PRIVATE KEY-----")
        try:
            context.load_cert_chain(self.certificate, self.key, _no_password)
        except _EncryptedKey as error:
            raise StartupError(
                f"server_key: {self.key} is encrypted, and there is nobody to ask for its "
                "password; write it without one and let only this server's user read it: openssl "
                f"pkey -in {self.key} -out NEW",
                reason="BAD_TLS_FILE",
            ) from error
        except ssl.SSLError as error:
            raise StartupError(_why_not_a_pair(self, error), reason="BAD_TLS_FILE") from error
        if self.client_ca is not None and client_ca is not None:
            _check_pem("client_ca", self.client_ca, client_ca, b"CERTIFICATE-----")
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise StartupError(
                    f"client_ca: {self.client_ca} holds no certificate that can be used "
                    f"({error.reason or error}); name a PEM file with the certificates of those "
                    "who sign clients'",
                    reason="BAD_TLS_FILE",
                ) from error
        if self.signature() != before:
            raise StartupError("the TLS files changed while they were read", reason="BAD_TLS_FILE")
        return TlsMaterial(certificate, key, client_ca, before)

    def signature(self) -> Signature:
        """Tells whether the files are still the same; an absent one has a place of its own."""
        files = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        return tuple(map(_stamp, files))


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """The contents of the files, PEM, as of `signature`."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    signature: Signature


class ChangingTls:
    """The newest material that can be used. Threads may share it."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises StartupError."""
        self._files = files
        self._lock = threading.Lock()
        self.material = files.read()
        self._seen = self.material.signature

    def changed(self) -> TlsMaterial | None:
        """The new material where the files have changed, None where what was read last still
        holds. Files that do not fit each other, as between the writing of the one and of the other,
        leave things as they are."""
        with self._lock:
            signature = self._files.signature()
            if signature == self._seen:
                return None
            self._seen = signature
            try:
                self.material = self._files.read()
            except StartupError as error:
                log.error("tls_files_not_used", why=error.message)
                return None
            log.info("tls_files_read", certificate=str(self._files.certificate))
            return self.material


class _EncryptedKey(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKey


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(
            f"{setting}: cannot read {path}: {error.strerror}; name a PEM file that this server's "
            "user may read",
            reason="BAD_TLS_FILE",
        ) from error


def _check_pem(setting: str, path: Path, content: bytes, marker: bytes) -> None:
    if marker not in content:
        raise StartupError(
            f"{setting}: {path} has no line `-----BEGIN … {marker.decode()}`; name a PEM file that "
            "has (openssl converts DER with -inform der)",
            reason="BAD_TLS_FILE",
        )


def _why_not_a_pair(files: TlsFiles, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"server_key: {files.key} is not the key of the first certificate in "
            f"{files.certificate}; name the key that it was made with"
        )
    return (
        f"server_certificate, server_key: {files.certificate} and {files.key} cannot be used "
        f"({error.reason or error}); name a certificate, followed by those that lead to its "
        "authority, and its key, both PEM"
    )
