"""A folder that may be read, and short ways to make, resolve and read what lies in it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed_sdk.dataset import Dataset
from seedbed_server.data import reading, references
from seedbed_server.data.references import DataSource, Policy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that may be read."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


@pytest.fixture
def policy(tmp_path: Path, root: Path) -> Policy:
    return Policy((root,), tmp_path / "uploads")


@pytest.fixture
def load(policy: Policy) -> Callable[..., Dataset]:
    """Reads sources given as paths, URIs or (path, split)."""

    def load_sources(*sources: object) -> Dataset:
        named = [s if isinstance(s, tuple) else (s, "") for s in sources]
        given = [DataSource(str(uri), split) for uri, split in named]
        return reading.read(references.resolve(given, policy), policy)

    return load_sources


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data; skips where it is not there."""
    folder = Path(os.environ.get("SEEDBED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; SEEDBED_DATA names another folder")
    return folder


def picture(shade: int = 0) -> bytes:
    """A small PNG in one shade of grey."""
    image = pytest.importorskip("PIL.Image", reason="pictures need seedbed[vision]")
    file = io.BytesIO()
    image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def write(path: Path, content: bytes | str = b"x") -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
