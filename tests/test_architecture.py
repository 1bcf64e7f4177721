"""What ARCHITECTURE.md promises of the code as a whole."""

from __future__ import annotations

import ast
import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google import rpc
from google.protobuf import descriptor_pb2

from tests.conftest import RunningServer, child_environment

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("client", "plugins", "server")
HEAVY = ("torch", "pandas", "numpy", "sklearn", "lightgbm", "optuna")
UNPICKLERS = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "_pb2" not in path.name:
                yield path


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_imports_go_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_server_names_no_plugin() -> None:
    """Not in an import and in no text either: a built-in task comes in like a stranger's."""
    naming = [
        path
        for path in sources("server", "plugins/seedbed_sdk")
        if {"seedbed_tabular", "seedbed_vision"} & set(re.findall(r"\w+", path.read_text()))
    ]
    assert not naming


def test_only_the_store_writes_sql() -> None:
    # A database that a user names is data, and is only read.
    data = ROOT / "server" / "seedbed_server" / "data"
    users_databases = (data / "sql.py", data / "database_servers.py")
    elsewhere = [
        path
        for path in sources("server")
        if "sqlalchemy" in imported(path)
        and path.parent.name not in ("store", "versions")
        and "migrations" not in path.parts
        and path not in users_databases
    ]
    assert not elsewhere


def test_nothing_is_unpickled() -> None:
    found = {path: imported(path) & UNPICKLERS for path in sources(*ROOMS)}
    assert not {path: names for path, names in found.items() if names}


def test_torch_loads_weights_only() -> None:
    """Without `weights_only` it would unpickle; that a default says so is not enough."""
    loads = [
        (path, node)
        for path in sources(*ROOMS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    careless = [
        f"{path}:{node.lineno}"
        for path, node in loads
        if ("weights_only", "True") not in [(k.arg, ast.unparse(k.value)) for k in node.keywords]
    ]
    assert not careless


def test_files_can_be_read_in_one_sitting() -> None:
    long = [
        (path, lines)
        for path in sources(*ROOMS, "tests", "benchmarks", "examples")
        if (lines := path.read_text().count("\n")) > 500
    ]
    assert not [entry for entry in long if "test_" not in entry[0].name]


def test_the_process_that_answers_loads_no_library_for_numbers(
    running_server: RunningServer,
) -> None:
    maps = Path(f"/proc/{running_server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system has no /proc/PID/maps")
    mapped = maps.read_text()
    assert not [name for name in HEAVY if f"/{name}/" in mapped]


def test_importing_the_service_loads_no_library_for_numbers() -> None:
    program = "import sys, seedbed_server.main, seedbed_server.service; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=child_environment(),
    )
    modules = {name.split(".")[0] for name in result.stdout.split()}
    assert "grpc" in modules
    assert not modules & set(HEAVY)


def test_the_client_is_thin() -> None:
    program = "import sys, seedbed; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    modules = {name.split(".")[0] for name in result.stdout.split()}
    unwanted = {*HEAVY, "click", "rich", "seedbed_sdk", "seedbed_server", "sqlalchemy"}
    assert not modules & unwanted


def test_stubs_are_not_stale(tmp_path: Path) -> None:
    tools = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([tools, os.environ["PATH"]])}
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate_stubs.py"), str(tmp_path)],
        check=True,
        env=environment,
        timeout=120,
    )
    fresh = tmp_path / "seedbed" / "v1"
    committed = ROOT / "client" / "seedbed" / "v1"
    names = sorted(p.name for p in fresh.iterdir())
    assert names == sorted(p.name for p in committed.glob("*_pb2*"))
    _, different, missing = filecmp.cmpfiles(fresh, committed, names, shallow=False)
    assert not different + missing, "run `make proto` and commit what it writes"


@pytest.mark.parametrize("compiler", ["bundled", "system"])
def test_the_contract_is_plain_proto3(tmp_path: Path, compiler: str) -> None:
    """No editions, and nothing that the compilers of other languages' distributions lack."""
    command = [sys.executable, "-m", "grpc_tools.protoc"]
    if compiler == "system":
        protoc = shutil.which("protoc")
        if protoc is None:
            pytest.skip("no protoc is installed beside the one in grpcio-tools")
        command = [protoc]
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    descriptors = tmp_path / "descriptors"
    result = subprocess.run(
        [
            *command,
            f"--proto_path={ROOT / 'proto'}",
            f"--proto_path={Path(rpc.__path__[0]).parent.parent}",
            f"--descriptor_set_out={descriptors}",
            *map(str, protos),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file
    assert len(files) == len(protos)
    for file in files:
        assert (file.package, file.syntax, file.HasField("edition")) == (
            "seedbed.v1",
            "proto3",
            False,
        )


def test_every_message_of_the_contract_is_described() -> None:
    """Every message and enum of the contract has a comment above it, or is one of a method."""
    for path in sorted((ROOT / "proto").rglob("*.proto")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if not line.startswith(("message ", "service ")):
                continue
            name = line.split()[1]
            if name.endswith(("Request", "Response")):
                continue
            assert lines[number - 1].startswith("//"), f"{path.name}: {name} has no comment"


def test_the_reference_of_hooks_is_not_stale() -> None:
    tool = ROOT / "tools" / "generate_hook_reference.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], timeout=60)
    assert done.returncode == 0, f"run `python {tool.relative_to(ROOT)}` and commit what it writes"
