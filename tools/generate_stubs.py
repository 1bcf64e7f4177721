"""Generates the typed Python stubs of `proto/` (`make proto`, and the test for stale stubs)."""

import sys
from pathlib import Path

import grpc_tools
from google import rpc
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def generate(output: Path) -> None:
    """Writes `seedbed/v1/*_pb2*.py[i]` below `output`.

    Raises RuntimeError where protoc refuses a file; protoc itself prints why.
    """
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    google_apis = Path(rpc.__path__[0]).parent.parent
    output.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT / 'proto'}",
            f"--proto_path={well_known}",
            f"--proto_path={google_apis}",
            f"--python_out={output}",
            f"--grpc_python_out={output}",
            f"--mypy_out=quiet:{output}",
            f"--mypy_grpc_out=quiet:{output}",
            *map(str, protos),
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc ended with status {status}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "client")
