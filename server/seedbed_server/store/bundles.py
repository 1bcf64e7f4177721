"""A model's bundle as one zip file."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from dataclasses import dataclass

from seedbed_sdk.errors import NotFound
from seedbed_server.jobs.values import Model
from seedbed_server.store.files import Files, full_disk_is_an_error

# The earliest time that a zip can hold: the same bundle is the same file, byte for byte.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open file that has no name; whoever asked for it closes `descriptor`."""

    descriptor: int
    size_bytes: int
    sha256: str


def pack(files: Files, model: Model) -> Bundle:
    """The bundle's files, stored without compression, in the order of their names.

    Raises NotFound where the model was deleted meanwhile, ResourceExhausted for a full disk.
    """
    folder = files.model(model.folder)
    descriptor = files.open_scratch()
    try:
        with full_disk_is_an_error(files.cache):
            with os.fdopen(os.dup(descriptor), "wb") as scratch:
                with zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as archive:
                    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                        info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
                        info.external_attr = _MODE
                        info.file_size = path.stat().st_size
                        with path.open("rb") as source, archive.open(info, "w") as member:
                            shutil.copyfileobj(source, member, 2**20)
                if not archive.namelist():
                    raise FileNotFoundError(folder)
            return _hashed(descriptor)
    except FileNotFoundError as error:
        os.close(descriptor)
        raise NotFound(f"model {model.id!r} was deleted meanwhile") from error
    except BaseException:
        os.close(descriptor)
        raise


def _hashed(descriptor: int) -> Bundle:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return Bundle(descriptor, size, digest)
