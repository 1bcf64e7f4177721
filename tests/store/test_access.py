"""Tokens and the audit as rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from seedbed_sdk.errors import NotFound
from seedbed_server import tokens
from seedbed_server.store import AuditRow, Store
from seedbed_server.store.values import now
from seedbed_server.tokens import Role, Token
from tests.store.values import a_dataset


def a_token(token_id: str = "abcd", **fields: object) -> Token:
    token = Token(
        id=token_id,
        label="Ada",
        digest=tokens.digest_of("secret"),
        role=Role.USER,
        projects=("a", "b"),
        create_time=now(),
    )
    return replace(token, **fields)  # type: ignore[arg-type]


def test_a_token_comes_back_as_it_was_and_is_revoked_once(store: Store) -> None:
    token = a_token(expire_time=now() + timedelta(days=1))
    store.tokens.add(token)
    assert store.tokens.of(["abcd", "none"]) == {"abcd": token}
    assert store.tokens.list() == [token]
    assert token.refusal(now()) == ""
    revoked = store.tokens.revoke("abcd")
    assert revoked.refusal(now()) == "was revoked"
    assert store.tokens.revoke("abcd") == revoked
    with pytest.raises(NotFound, match="there is no token 'none'"):
        store.tokens.revoke("none")


def test_secrets_are_long_and_compared_as_hashes(store: Store) -> None:
    secret = tokens.new_secret()
    assert secret != tokens.new_secret()
    text = tokens.text_of("abcd", secret)
    assert tokens.parse(text) == ("abcd", secret)
    token = a_token(digest=tokens.digest_of(secret))
    assert tokens.is_right(token, secret)
    assert not tokens.is_right(token, secret[:-1])
    for wrong in ("", "abcd", text[:-1], text + "a", text + "\n", "seedbed__" + secret, f" {text}"):
        assert tokens.parse(wrong) is None


def test_the_audit_keeps_the_newest(store: Store) -> None:
    rows = [AuditRow(now(), "abcd", "unix:", f"m{n}", "r", "OK", n) for n in range(1, 8)]
    store.audit.add(rows[:4], keep=5)
    store.audit.add([*rows[4:], replace(rows[0], token="other")], keep=5)
    assert store.audit.list(100) == [replace(rows[0], token="other"), *rows[:2:-1]]
    assert store.audit.list(1, "abcd") == [rows[-1]]


def test_what_another_project_has_is_not_there(store: Store) -> None:
    dataset = a_dataset("table", project="a")
    store.datasets.create(dataset)
    assert store.datasets.get("table", "a") == store.datasets.get("table") == dataset
    messages = []
    for dataset_id in ("table", "none"):
        with pytest.raises(NotFound) as caught:
            store.datasets.get(dataset_id, "b")
        messages.append(caught.value.message.replace(dataset_id, "ID"))
    assert messages[0] == messages[1] == "there is no dataset 'ID'"
