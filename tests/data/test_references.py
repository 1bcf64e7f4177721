"""References: what may be read, fingerprints, and whether data is still the same."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seedbed_sdk.errors import FailedPrecondition, InvalidArgument
from seedbed_server.data.references import (
    DataSource,
    Policy,
    fingerprint,
    resolve,
    resolve_unchanged,
    verify_unchanged,
)
from tests.conftest import child_environment
from tests.data.conftest import write


def refused(policy: Policy, *sources: DataSource) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        resolve(list(sources), policy)
    return caught.value


def test_needs_none_of_the_large_libraries() -> None:
    code = (
        "import sys, seedbed_server.data.references\n"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_resolves_paths_file_uris_and_samples(root: Path, policy: Policy) -> None:
    file = write(root / "a b.csv")
    plain, uri, folder, sample = resolve(
        [
            DataSource(str(file), "train"),
            DataSource(file.as_uri()),
            DataSource(str(root)),
            DataSource("sample://wine"),
        ],
        policy,
    )
    assert "%20" in file.as_uri()
    assert (plain.path, plain.split, plain.field) == (file, "train", "dataset.sources[0].uri")
    assert uri.path == file
    assert folder.path == root
    assert (sample.path, sample.sample, sample.index) == (None, "wine", 3)


def test_a_path_may_look_like_a_uri(root: Path, policy: Policy) -> None:
    file = write(root / "a:" / "b" / "x.csv")
    (found,) = resolve([DataSource(f"{root}/a://b/x.csv")], policy)
    assert found.path == file
    assert not found.is_remote
    assert fingerprint([found]).size_bytes == 1


def test_uploads_may_always_be_read(tmp_path: Path) -> None:
    policy = Policy((), tmp_path / "uploads")
    file = write(tmp_path / "uploads" / "ds-1" / "x.csv")
    assert resolve([DataSource(str(file))], policy)[0].path == file


def test_policy_survives_the_way_to_another_process(policy: Policy) -> None:
    assert Policy.from_dict(replace(policy, max_columns=7).to_dict()) == replace(
        policy, max_columns=7
    )


@pytest.mark.parametrize(
    ("uri", "reason", "text"),
    [
        ("", "INVALID_FIELD", "is empty; name a file, a folder or sample://NAME"),
        ("  ", "INVALID_FIELD", "is empty"),
        ("data.csv", "INVALID_FIELD", "'data.csv' is a relative path"),
        (
            "s3://bucket/x",
            "SCHEME_NOT_ALLOWED",
            "has the scheme 's3'; this server reads paths and the",
        ),
        ("http://169.254.169.254/latest", "SCHEME_NOT_ALLOWED", "schemes file, sample; upload the"),
        ("sample://", "INVALID_FIELD", "write it like sample://breast_cancer"),
        ("sample://../x", "INVALID_FIELD", "names no sample"),
        ("file://other.host/x", "INVALID_FIELD", "names the host 'other.host'"),
        ("file:///a?b", "INVALID_FIELD", "write %3F or %23"),
        ("file:///a%00b", "INVALID_FIELD", "NUL character"),
        ("file://[", "INVALID_FIELD", "is no valid URI"),
    ],
)
def test_refuses_uris(policy: Policy, uri: str, reason: str, text: str) -> None:
    error = refused(policy, DataSource(uri))
    assert error.violations[0].field == "dataset.sources[0].uri"
    assert error.reason == reason
    assert text in error.message


def test_refuses_what_lies_outside(root: Path, policy: Policy) -> None:
    for path in ("/etc/passwd", "/etc/there-is-no-such-file", f"{root}/../../x", f"{root}-not"):
        error = refused(policy, DataSource(path))
        assert error.reason == "OUTSIDE_ALLOWED_ROOTS"
        assert error.message == (
            f"dataset.sources[0].uri: {path} lies outside the folders this server may read "
            f"({root}); start it with --allow-root, or upload the file"
        )


def test_says_so_where_no_folder_may_be_read(policy: Policy) -> None:
    error = refused(replace(policy, allowed_roots=()), DataSource("/etc/passwd"))
    assert "/etc/passwd may not be read: this server may read no folder" in error.message
    assert "--allow-root" in error.message


def test_links_lead_no_further_than_their_targets_may(
    tmp_path: Path, root: Path, policy: Policy
) -> None:
    secret = write(tmp_path / "secret.csv")
    (root / "link.csv").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    inside = write(root / "real.csv")
    (root / "good.csv").symlink_to(inside)
    for name in ("link.csv", "folder/secret.csv"):
        assert refused(policy, DataSource(str(root / name))).reason == "OUTSIDE_ALLOWED_ROOTS"
    assert "cannot be followed" in refused(policy, DataSource(str(root / "loop"))).message
    assert resolve([DataSource(str(root / "good.csv"))], policy)[0].path == inside


def test_links_lead_to_no_upload(root: Path, policy: Policy) -> None:
    """Whose an upload is, is known by its dataset's name and not by where it lies."""
    for name in ("mine", "theirs"):
        (policy.uploads / name).mkdir(parents=True)
        (policy.uploads / name / "t.csv").write_text("a\n1\n")
    (root / "folder").mkdir()
    (root / "folder" / "t.csv").symlink_to(policy.uploads / "theirs" / "t.csv")
    (policy.uploads / "mine" / "u.csv").symlink_to(policy.uploads / "theirs" / "t.csv")
    for folder in (root / "folder", policy.uploads / "mine"):
        with pytest.raises(InvalidArgument, match="is a link out of the folders"):
            fingerprint(resolve([DataSource(str(folder))], policy))
    (policy.uploads / "mine" / "u.csv").unlink()
    assert fingerprint(resolve([DataSource(str(policy.uploads / "mine"))], policy)).size_bytes == 4


def test_refuses_what_is_missing_or_no_file(root: Path, policy: Policy) -> None:
    os.mkfifo(root / "pipe")
    assert "does not exist" in refused(policy, DataSource(f"{root}/none.csv")).message
    assert "neither a file nor a folder" in refused(policy, DataSource(f"{root}/pipe")).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_refuses_what_the_server_may_not_read(root: Path, policy: Policy) -> None:
    write(root / "x.csv").chmod(0)
    assert "permission denied" in refused(policy, DataSource(f"{root}/x.csv")).message


def test_names_every_source_at_fault(root: Path, policy: Policy) -> None:
    good = str(write(root / "x.csv"))
    error = refused(policy, DataSource(good, "training"), DataSource(good), DataSource("ftp://x/y"))
    fields = [violation.field for violation in error.violations]
    assert fields == ["dataset.sources[0].split", "dataset.sources[2].uri"]
    assert "'training' is no split; there are train, valid, test" in error.message
    assert refused(policy).violations[0].field == "dataset.sources"


def test_fingerprint_is_of_names_and_contents(root: Path, policy: Policy) -> None:
    write(root / "a" / "1.txt", "one")
    write(root / "a" / "sub" / "2.txt", "two")
    write(root / "b" / "1.txt", "one")
    write(root / "b" / "sub" / "2.txt", "two")

    def taken(name: str) -> str:
        return fingerprint(resolve([DataSource(str(root / name))], policy)).sha256

    first = fingerprint(resolve([DataSource(str(root / "a"))], policy))
    assert first.size_bytes == 6
    assert len(first.sha256) == 64
    assert taken("b") == first.sha256
    write(root / "b" / ".DS_Store", "beside the data")
    assert taken("b") == first.sha256
    write(root / "b" / "sub" / "2.txt", "too")
    assert taken("b") != first.sha256
    (root / "a" / "1.txt").rename(root / "a" / "3.txt")
    assert taken("a") != first.sha256


def test_fingerprint_tells_samples_and_splits_apart(root: Path, policy: Policy) -> None:
    file = str(write(root / "x.csv"))
    given = [
        [DataSource("sample://wine")],
        [DataSource("sample://digits")],
        [DataSource(file)],
        [DataSource(file, "train")],
        [DataSource(file), DataSource(file)],
    ]
    assert len({fingerprint(resolve(sources, policy)).sha256 for sources in given}) == len(given)


def test_unchanged_data_passes_and_is_not_read_again(root: Path, policy: Policy) -> None:
    file = write(root / "x.csv", "a\n1\n")
    resolved = resolve([DataSource(str(file))], policy)
    before = fingerprint(resolved)
    # A hash that fits nothing shows that contents are not compared while the signature fits.
    verify_unchanged(resolved, "0" * 64, before.signature)
    os.utime(file, ns=(1, 1))
    verify_unchanged(resolved, before.sha256, before.signature)
    verify_unchanged(resolved, before.sha256)


def test_a_change_is_named_even_with_old_times(root: Path, policy: Policy) -> None:
    one, two = write(root / "one.csv", "a\n1\n"), write(root / "two.csv", "a\n1\n")
    resolved = resolve([DataSource(str(one)), DataSource(str(two), "test")], policy)
    before = fingerprint(resolved)
    times = two.stat()
    two.write_text("a\n2\n")
    os.utime(two, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(FailedPrecondition) as caught:
        verify_unchanged(resolved, before.sha256, before.signature)
    assert caught.value.reason == "DATASET_CHANGED"
    assert f"the dataset changed since the job was created: {two};" in caught.value.message


def test_a_changed_folder_names_the_latest_file(root: Path, policy: Policy) -> None:
    for name in ("1.txt", "2.txt"):
        write(root / "d" / name)
    resolved = resolve([DataSource(str(root / "d"))], policy)
    before = fingerprint(resolved)
    write(root / "d" / "1.txt", "other")
    with pytest.raises(FailedPrecondition, match=r"the latest change is to 1\.txt"):
        verify_unchanged(resolved, before.sha256, before.signature)
    for file in (root / "d").iterdir():
        file.unlink()
    with pytest.raises(FailedPrecondition, match="no files are left"):
        verify_unchanged(resolved, before.sha256, before.signature)


def test_vanished_data_is_a_failed_precondition(root: Path, policy: Policy) -> None:
    file = write(root / "x.csv", "a\n1\n")
    sources = [DataSource(str(file))]
    resolved = resolve(sources, policy)
    before = fingerprint(resolved)
    file.unlink()
    for attempt in (
        lambda: verify_unchanged(resolved, before.sha256, before.signature),
        lambda: resolve_unchanged(sources, policy, before.sha256, before.signature),
    ):
        with pytest.raises(FailedPrecondition) as caught:
            attempt()
        assert caught.value.reason == "DATASET_VANISHED"
        assert f"vanished since the job was created: {file} does not exist" in caught.value.message
    write(file, "a\n1\n")
    assert resolve_unchanged(sources, policy, before.sha256, before.signature)[0].path == file


def test_folders_hold_files_alone(tmp_path: Path, root: Path, policy: Policy) -> None:
    folder = root / "d"
    write(folder / "ok.txt")

    def refusal() -> str:
        with pytest.raises(InvalidArgument) as caught:
            fingerprint(resolve([DataSource(str(folder))], policy))
        return caught.value.message

    outside = folder / "outside"
    outside.symlink_to(write(tmp_path / "secret"))
    assert f"{outside} is a link out of the folders" in refusal()
    outside.unlink()
    (folder / "linked").symlink_to(root)
    assert "is a link to a folder, and those are not followed" in refusal()
    (folder / "linked").unlink()
    os.mkfifo(folder / "pipe")
    assert "neither a file nor a folder" in refusal()
    (folder / "pipe").unlink()
    write(Path(os.fsdecode(os.fsencode(folder) + b"/\xff")))
    assert "is not UTF-8" in refusal()


def test_a_folder_has_so_many_files(root: Path, policy: Policy) -> None:
    for i in range(4):
        write(root / f"{i}.txt")
    few = replace(policy, max_files=3)
    with pytest.raises(InvalidArgument, match="more than 3 files"):
        fingerprint(resolve([DataSource(str(root))], few))


def test_a_link_inside_the_roots_is_read_as_its_target(root: Path, policy: Policy) -> None:
    target = write(root / "blobs" / "x", "contents")
    (root / "d").mkdir()
    (root / "d" / "x").symlink_to(target)
    resolved = resolve([DataSource(str(root / "d"))], policy)
    assert resolved[0].files() == [("x", target)]
    assert fingerprint(resolved).size_bytes == len("contents")
