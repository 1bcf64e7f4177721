"""Bearer tokens: what they look like, how they are kept, and what they allow."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Scanners for secrets that leaked into repositories and logs find it by this.
PREFIX = "seedbed_"
SECRET_BYTES = 32

_PROJECT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_TOKEN = re.compile(rf"{PREFIX}([a-z0-9]{{1,63}})_([A-Za-z0-9_-]{{43}})")


class Role(StrEnum):
    """What a token allows in its projects: a viewer looks, downloads and predicts, a user changes
    things too, and an admin is a user in every project."""

    ADMIN = "admin"
    USER = "user"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept. `digest` is the hash of its secret.

    The first of `projects` is the one that is meant where a request names none. Without an
    `expire_time` it holds until it is revoked.
    """

    id: str
    label: str
    digest: str
    role: Role
    projects: tuple[str, ...]
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None

    def refusal(self, at: datetime) -> str:
        """Why it does not hold at a time; empty where it does."""
        if self.revoke_time is not None and self.revoke_time <= at:
            return "was revoked"
        if self.expire_time is not None and self.expire_time <= at:
            return f"expired at {self.expire_time:%Y-%m-%d %H:%M} UTC"
        return ""


def is_project(text: str) -> bool:
    """Whether it can be the name of a project: 1 to 63 of a-z, 0-9 and -, a letter first."""
    return bool(_PROJECT.fullmatch(text))


def digest_of(secret: str) -> str:
    """The SHA-256 of a secret in hexadecimal digits.

    A slow hash protects passwords, which can be guessed; 256 random bits cannot, however fast each
    guess is, and every call has to be checked.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """256 random bits as 43 characters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def text_of(token_id: str, secret: str) -> str:
    """A token as its holder presents it. The id in it tells which row to compare with."""
    return f"{PREFIX}{token_id}_{secret}"


def parse(text: str) -> tuple[str, str] | None:
    """The id and the secret in a token; None for what is none."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else (match[1], match[2])


def is_right(token: Token, secret: str) -> bool:
    """Whether the secret is the token's, in a time that does not tell how much of it is."""
    return hmac.compare_digest(token.digest, digest_of(secret))
