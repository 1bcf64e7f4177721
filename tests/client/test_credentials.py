"""What a client sends and trusts, and the commands that make tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import seedbed
from seedbed.cli.session import Session
from seedbed.credentials import Credentials, is_local, load_credentials
from tests.api.harness import Harness, launch
from tests.certificates import Certificate
from tests.conftest import child_environment


def load(environment: dict[str, str] | None = None, **given: Any) -> Credentials:
    return load_credentials(environment=environment or {}, **given)


def test_what_is_given_goes_before_what_the_environment_says(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    variables = {"SEEDBED_TOKEN": "variable", "SEEDBED_TOKEN_FILE": str(file)}
    assert load(variables).token == "variable"
    assert load(variables, token="given").token == "given"
    assert load(variables, token_file=file).token == "from-file"
    assert load({"SEEDBED_TOKEN_FILE": str(file)}).token == "from-file"
    assert load() == Credentials()


def test_tls_is_asked_for_or_follows_from_files(tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    assert load({"SEEDBED_TLS": "1"}).tls
    assert not load({"SEEDBED_TLS": "0"}).tls
    assert load(tls_ca=made.path) == Credentials(tls=True, ca=made.path.read_bytes())
    own = load({"SEEDBED_TLS_CERT": str(made.path), "SEEDBED_TLS_KEY": str(made.key)})
    assert (own.tls, own.certificate, own.key) == (
        True,
        made.path.read_bytes(),
        made.key.read_bytes(),
    )


def test_what_will_not_do_is_named_without_showing_it(tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    absent = tmp_path / "absent"
    for given, text in (
        ({"tls_ca": absent}, f"tls_ca: cannot read {absent}: No such file or directory"),
        ({"tls_ca": made.key}, f"tls_ca: {made.key} has no line `-----BEGIN … CERTIFICATE-----`"),
        ({"tls_key": made.path, "tls_cert": made.path}, "tls_key: "),
        ({"tls_cert": made.path}, "tls_key: is missing; tls_cert is given, and a certificate"),
        ({"tls_key": made.key}, "tls_cert: is missing; tls_key is given"),
        ({"token_file": absent}, f"token_file: cannot read {absent}"),
        ({"token": "two secret-words"}, "token: is no token; it is one word"),
        ({"token": "a\nb: secret-words"}, "token: is no token"),
        ({"token": "sécret-words"}, "token: is no token"),
    ):
        with pytest.raises(seedbed.InvalidArgument) as caught:
            load(**given)
        assert str(caught.value).startswith(text)
        assert "secret-words" not in str(caught.value)
    with pytest.raises(seedbed.InvalidArgument, match="SEEDBED_TLS: must be 1 or 0, got 'maybe'"):
        load({"SEEDBED_TLS": "maybe"})
    for thing in (Credentials("secret-words", key=b"secret-words"), Session(token="secret-words")):
        assert "secret-words" not in repr(thing)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("unix:/tmp/s", True),
        ("localhost:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("example.com:1", False),
        ("127.example.com:1", False),
        ("localhost.example.com:1", False),
    ],
)
def test_a_token_leaves_the_machine_over_tls_only(address: str, local: bool) -> None:
    assert is_local(address) == local
    Credentials("token", tls=True).channel(address, ()).close()
    Credentials().channel(address, ()).close()
    if local:
        Credentials("token").channel(address, ()).close()
    else:
        with pytest.raises(seedbed.InvalidArgument, match="for everybody on the way to read"):
            Credentials("token").channel(address, ())


def test_a_project_is_said_or_the_environments() -> None:
    assert load({"SEEDBED_PROJECT": "a"}).project == "a"
    assert load({"SEEDBED_PROJECT": "a"}, project="b").project == "b"
    with pytest.raises(seedbed.InvalidArgument, match="is no name of a project, such as churn"):
        load(project="a\nb")


def test_repeated_options_hold_no_token() -> None:
    session = Session(server="h:1", token="secret", tls=True, tls_ca=Path("a b.pem"))
    assert session.repeated == " --tls --server h:1 --tls-ca 'a b.pem'"


@dataclass
class House:
    """A server with TLS and tokens."""

    server: Harness
    certificate: Certificate

    def seedbed(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "seedbed.cli", *arguments],
            env=child_environment() | variables,
            text=True,
            capture_output=True,
            timeout=120,
        )

    def operate(self, *arguments: str) -> Any:
        done = self.seedbed(*arguments, "--data-dir", str(self.server.data_dir), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("credentials")
    made = Certificate.make(folder / "certificate")
    options = (
        *("--server-certificate", str(made.path), "--server-key", str(made.key)),
        *("--require-tokens", "--allow-root", str(folder)),
    )
    with launch(folder / "data", *options, address="localhost:0") as server:
        yield House(server, made)


def test_from_a_new_token_to_its_end(house: House, tmp_path: Path) -> None:
    data_dir = str(house.server.data_dir)
    made = house.seedbed("token", "create", "Ada", "--project", "sums", "--data-dir", data_dir)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert "of Ada, user in sums, until" in made.stderr
    assert token not in made.stderr
    file = tmp_path / "token"
    file.write_text(made.stdout)
    listed = house.operate("token", "list")
    (entry,) = [t for t in listed["tokens"] if t["label"] == "Ada"]
    assert (entry["role"], entry["projects"], entry["state"]) == ("user", ["sums"], "valid")
    assert token not in json.dumps(listed)

    security = ("--server", house.server.address, "--tls-ca", str(house.certificate.path))
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,no\n2,yes\n")
    with seedbed.connect(
        house.server.address, token_file=file, tls_ca=house.certificate.path
    ) as client:
        dataset = client.create_dataset(table)
        assert dataset.name.startswith("projects/sums/datasets/")
        job = client.train("tiny", dataset, budget="1trials")
        assert job.model().predict([{"a": 1}])
        assert job.model().download(tmp_path / "model.zip").exists()
    shown = house.seedbed(*security, "--token-file", str(file), "jobs", "--json")
    assert [j["job"] for j in json.loads(shown.stdout)["jobs"]] == [job.id]
    warned = house.seedbed(*security, "--token", token, "jobs")
    assert warned.returncode == 0
    assert "everybody on this machine can see a token" in warned.stderr

    house.operate("token", "revoke", entry["id"])
    refused = house.seedbed(*security, "jobs", SEEDBED_TOKEN=token)
    assert refused.returncode == 1
    assert refused.stderr == f"error: token '{entry['id']}' was revoked; ask for a new one\n"
    audited = house.operate("audit", "--token", entry["id"])["calls"]
    assert {c["method"].rpartition("/")[2] for c in audited} == {
        "UploadDataset",
        "CreateJob",
        "DownloadModel",
    }
    assert token.rpartition("_")[2] not in json.dumps(audited)


def test_a_client_that_trusts_another_authority_says_what_to_look_at(
    house: House, tmp_path: Path
) -> None:
    other = Certificate.make(tmp_path)
    with pytest.raises(seedbed.Unavailable) as caught:
        seedbed.connect(house.server.address, token="a", tls_ca=other.path)
    assert f"no seedbed server answers over TLS at {house.server.address}" in str(caught.value)
    assert "did the authority in --tls-ca sign its certificate" in str(caught.value)
    with pytest.raises(seedbed.Unavailable, match="pass --tls-ca or --tls where it has TLS"):
        seedbed.connect(house.server.address, token="a")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["token", "create", "x", "--role", "admin", "--project", "a"], "for every project; leave"),
        (["token", "create", "x", "--project", "A/b"], "--project: 'A/b' will not do: 1 to 63 of"),
        (["token", "create", " "], "LABEL: must say whose token it is"),
        (["token", "revoke", "nothere"], "there is no token 'nothere'; `seedbed token list`"),
    ],
)
def test_commands_that_will_not_do(house: House, arguments: list[str], text: str) -> None:
    done = house.seedbed(*arguments, "--data-dir", str(house.server.data_dir))
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
