"""When the kept description of the tasks is used, and when it is made anew."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from seedbed_server.catalogue import installed_plugins


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with an entry point, found through the path."""
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seedbed]\nstranger = stranger\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_the_key_follows_what_is_installed_and_imports_none(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_plugin = installed_plugins()
    assert installed_plugins() == with_plugin
    os.utime(plugin / "__init__.py", (1, 1))
    edited = installed_plugins()
    (plugin / "more.py").write_text("")
    grown = installed_plugins()
    info = plugin.parent / "stranger-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.1\n")
    upgraded = installed_plugins()
    (info / "entry_points.txt").unlink()
    removed = installed_plugins()
    assert len({with_plugin, edited, grown, upgraded, removed}) == 5
    assert "stranger" not in sys.modules
