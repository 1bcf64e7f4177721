"""Archives: what is read of them, and what is refused before anything is."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.archives import Member, bad_name, is_archive, open_archive
from seedbed_server.data.references import Policy

FIELD = "dataset.sources[0].uri"
FILES = {"train/a/1.txt": b"one", "train/b/2.txt": b"two" * 1000, "empty.txt": b""}
TARS = {"x.tar": "w", "x.tar.gz": "w:gz", "x.tgz": "w:gz", "x.tar.bz2": "w:bz2", "x.tar.xz": "w:xz"}
FORMATS = ["x.zip", *TARS]


def make(path: Path, files: dict[str, bytes]) -> Path:
    """An archive of the kind that the name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, TARS[path.name]) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def refusal(path: Path, policy: Policy) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        open_archive(path, policy, FIELD)
    assert caught.value.violations[0].field == FIELD
    assert path.name in caught.value.message
    return caught.value


def rest(member: Member) -> bytes:
    return member.read(1_000_000)


@pytest.mark.parametrize("name", FORMATS)
def test_reads_in_place(root: Path, policy: Policy, name: str) -> None:
    path = make(root / name, FILES)
    before = sorted(root.iterdir())
    members = open_archive(path, policy, FIELD)
    assert {m.name: m.size for m in members} == {n: len(d) for n, d in FILES.items()}
    assert {m.name: rest(m) for m in reversed(members)} == FILES
    assert sorted(root.iterdir()) == before
    with pytest.raises(OSError, match=r"has 3,000 bytes; at most 2,999 are read"):
        next(m for m in members if m.size == 3000).read(2999)


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_processes_read_without_disturbing_each_other(
    root: Path, policy: Policy, name: str
) -> None:
    files = {f"{i}.bin": os.urandom(20_000) for i in range(40)}
    members = open_archive(make(root / name, files), policy, FIELD)
    rest(members[0])
    context = get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        answers.put(all(rest(m) == files[m.name] for _ in range(5) for m in members))

    children = [context.Process(target=child) for _ in range(2)]
    for process in children:
        process.start()
    assert all(rest(m) == files[m.name] for _ in range(5) for m in members)
    for process in children:
        process.join(30)
        assert process.exitcode == 0
    assert [answers.get(), answers.get()] == [True, True]


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("../up.txt", "a name that leads out of the archive (..)"),
        ("a/../../up.txt", "a name that leads out of the archive (..)"),
        ("/etc/passwd", "an absolute name"),
        ("C:/x.txt", "a name with a drive letter"),
        ("a\\b.txt", "a name with a backslash"),
        ("a\nb.txt", "control characters"),
    ],
)
def test_refuses_names(root: Path, policy: Policy, name: str, member: str, why: str) -> None:
    error = refusal(make(root / name, {"ok.txt": b"1", member: b"2"}), policy)
    assert error.reason == "UNSAFE_ARCHIVE"
    assert repr(member) in error.message
    assert why in error.message
    assert "none of its files was read" in error.message


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\/:"), min_size=1)
)
def test_plain_names_are_accepted_and_ways_out_are_not(part: str) -> None:
    name = "x" + part
    assert bad_name(name) == bad_name(f"{name}/{name}") == ""
    for bad in (
        f"/{name}",
        f"../{name}",
        f"{name}/../{name}",
        f"{name}\\{name}",
        f"{name}\0",
        "c:x",
    ):
        assert bad_name(bad)


def test_refuses_a_name_hidden_behind_a_nul(root: Path, policy: Policy) -> None:
    path = make(root / "x.zip", {"ok.txt_evil": b"1"})
    path.write_bytes(path.read_bytes().replace(b"ok.txt_evil", b"ok.txt\0evil"))
    assert "control characters" in refusal(path, policy).message


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_refuses_the_same_name_twice(root: Path, policy: Policy, name: str) -> None:
    path = root / name
    if name == "x.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "1")
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("a.txt", "2")
    else:
        with tarfile.open(path, "w") as tar:
            for member in ("a.txt", "./a.txt"):
                tar.addfile(tarfile.TarInfo(member))
    assert "a.txt' twice" in refusal(path, policy).message


def test_a_leading_dot_is_no_part_of_a_name(root: Path, policy: Policy) -> None:
    with tarfile.open(root / "x.tar", "w") as tar:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        tar.addfile(tarfile.TarInfo("./cat/1.jpg"))
    assert [m.name for m in open_archive(root / "x.tar", policy, FIELD)] == ["cat/1.jpg"]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "a link to '/etc/passwd'"),
        (tarfile.LNKTYPE, "a link to '/etc/passwd'"),
        (tarfile.CHRTYPE, "no plain file (a device"),
        (tarfile.FIFOTYPE, "no plain file (a device"),
    ],
)
def test_refuses_links_and_devices_in_tars(
    root: Path, policy: Policy, kind: bytes, why: str
) -> None:
    with tarfile.open(root / "x.tar", "w") as tar:
        info = tarfile.TarInfo("innocent.txt")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    message = refusal(root / "x.tar", policy).message
    assert "'innocent.txt'" in message
    assert why in message


def test_refuses_links_in_zips(root: Path, policy: Policy) -> None:
    info = zipfile.ZipInfo("innocent.txt")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(root / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "'innocent.txt', a link or device" in refusal(root / "x.zip", policy).message


def test_refuses_encrypted_zips(root: Path, policy: Policy) -> None:
    path = make(root / "x.zip", {"a.txt": b"1"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted (the member 'a.txt')" in refusal(path, policy).message


def test_refuses_methods_that_unpack_without_bounds(root: Path, policy: Policy) -> None:
    with zipfile.ZipFile(root / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", "1" * 1000)
    assert "packed with method 14 (LZMA)" in refusal(root / "x.zip", policy).message


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_refuses_too_many_members(root: Path, policy: Policy, name: str) -> None:
    path = make(root / name, {f"{i}.txt": b"" for i in range(20)})
    assert len(open_archive(path, replace(policy, max_files=20), FIELD)) == 20
    error = refusal(path, replace(policy, max_files=19))
    assert error.reason == "ARCHIVE_TOO_LARGE"
    assert "has more than 19 members" in error.message


def test_refuses_an_index_that_would_fill_memory(root: Path, policy: Policy) -> None:
    """Such an index is not even read: its size alone says that it has too many members."""
    path = make(root / "x.zip", {f"{i:0250}.txt": b"" for i in range(1000)})
    error = refusal(path, replace(policy, max_files=300))
    assert "has more than 300 members" in error.message


@pytest.mark.parametrize("name", FORMATS)
def test_refuses_what_unpacks_to_too_much(root: Path, policy: Policy, name: str) -> None:
    path = make(root / name, {"a.bin": os.urandom(600), "b.bin": os.urandom(600)})
    small = replace(policy, max_unpacked_bytes=1000, max_in_memory_bytes=1000)
    error = refusal(path, small)
    assert error.reason == "ARCHIVE_TOO_LARGE"
    assert "unpacks to more than 1,000 bytes (reached at the member 'b.bin')" in error.message


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_refuses_bombs(root: Path, policy: Policy, name: str) -> None:
    strict = replace(policy, ratio_from_bytes=100_000)
    path = make(root / name, {"zeros.bin": bytes(1_000_000)})
    error = refusal(path, strict)
    assert "'zeros.bin'" in error.message
    assert "looks like a decompression bomb" in error.message
    assert open_archive(path, policy, FIELD)[0].size == 1_000_000


def test_refuses_members_that_overlap(root: Path, policy: Policy) -> None:
    """One piece of packed data under many names, which is how small bombs are built."""
    path = make(root / "x.zip", {"a.bin": os.urandom(5000)})
    data = path.read_bytes()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[start:end]
    entries = b"".join(entry.replace(b"a.bin", f"{i}.bin".encode()) for i in range(9))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(entries), start, 0)
    path.write_bytes(data[:start] + entries + tail)
    assert "members that overlap" in refusal(path, policy).message


def test_refuses_headers_that_would_fill_memory(root: Path, policy: Policy) -> None:
    """tarfile reads a pax header of any size into memory; this one says it has 3 GB."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 3_000_000_000
    with gzip.open(root / "x.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT) + bytes(100_000))
    assert "has a header of 3,000,000,000 bytes" in refusal(root / "x.tar.gz", policy).message


def test_refuses_xz_that_wants_too_much_memory(root: Path, policy: Policy) -> None:
    data = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**12}]))
    # The size of the dictionary (40: 4 GiB) stands in the block's header, with a checksum behind.
    header = bytearray(data[12 : 12 + (data[12] + 1) * 4])
    header[4] = 40
    header[-4:] = zlib.crc32(bytes(header[:-4])).to_bytes(4, "little")
    data[12 : 12 + len(header)] = header
    (root / "x.tar.xz").write_bytes(data)
    assert "Memory usage limit" in refusal(root / "x.tar.xz", policy).message


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"this is no archive" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:300],
    ],
    ids=["empty", "garbage", "half", "start"],
)
def test_refuses_what_is_damaged(
    root: Path, policy: Policy, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = make(root / name, {f"{i}.bin": os.urandom(3000) for i in range(10)})
    path.write_bytes(damage(path.read_bytes()))
    error = refusal(path, policy)
    assert error.reason == "BAD_ARCHIVE"
    assert "is damaged, cut off or no" in error.message
    assert "make or copy it again" in error.message


def test_a_tar_cut_off_between_members_is_noticed(root: Path, policy: Policy) -> None:
    path = make(root / "x.tar", {"a.txt": b"1", "b.txt": b"2"})
    path.write_bytes(path.read_bytes()[:1024])
    assert "the mark at its end is missing" in refusal(path, policy).message


def test_a_packed_member_that_is_damaged_is_an_error_of_that_member(
    root: Path, policy: Policy
) -> None:
    path = root / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a" * 50)
        archive.writestr("b.txt", "b" * 50)
    path.write_bytes(path.read_bytes().replace(b"b" * 50, b"c" * 50))
    good, bad = open_archive(path, policy, FIELD)
    assert rest(good) == b"a" * 50
    with pytest.raises(OSError, match="is damaged in the archive: Bad CRC-32"):
        rest(bad)


@pytest.mark.parametrize("size", [10, 100_000_000])
def test_a_header_that_lies_about_the_size_is_found_out(
    root: Path, policy: Policy, size: int
) -> None:
    path = make(root / "x.zip", {"a.bin": os.urandom(500_000)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = size.to_bytes(4, "little")
    path.write_bytes(data)
    (member,) = open_archive(path, policy, FIELD)
    with pytest.raises(OSError, match=r"damaged in the archive|not as long"):
        member.read(2 * size)


def test_an_archive_without_files_is_refused(root: Path, policy: Policy) -> None:
    assert refusal(make(root / "x.zip", {}), policy).reason == "EMPTY_DATASET"


def test_what_counts_as_an_archive(root: Path) -> None:
    assert is_archive(make(root / "x.zip", FILES))
    assert is_archive(make(root / "x.tar.gz", FILES))
    nameless = (root / "x.zip").rename(root / "nameless")
    assert is_archive(nameless)
    assert not is_archive(nameless.rename(root / "x.csv"))
