"""Certificates for tests: signed by themselves or by each other, good or expired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """A PEM file with a certificate, and one with its key."""

    path: Path
    key: Path

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        days: int = 1,
        host: str = "localhost",
        signer: Certificate | None = None,
    ) -> Certificate:
        """One for a host, good for `days` from now; without a signer it signs itself."""
        x509 = pytest.importorskip("cryptography.x509")
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        issuer, issuer_key = name, key
        if signer is not None:
            issuer = x509.load_pem_x509_certificate(signer.path.read_bytes()).subject
            loaded = serialization.load_pem_private_key(signer.key.read_bytes(), None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            issuer_key = loaded
        until = datetime.now(UTC) + timedelta(days=days)
        certificate = (
            x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(until - timedelta(days=10))
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(issuer_key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder / "certificate.pem", folder / "key.pem")
        pem = serialization.Encoding.PEM
        made.path.write_bytes(certificate.public_bytes(pem))
        plain, secret = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
        made.key.write_bytes(key.private_bytes(pem, secret, plain))
        return made

    def encrypt_key(self, password: bytes) -> Path:
        """A copy of the key that needs a password."""
        from cryptography.hazmat.primitives import serialization

        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        encrypted = self.key.with_name("encrypted.pem")
        encrypted.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password),
            )
        )
        return encrypted
