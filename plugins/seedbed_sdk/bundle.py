"""A model's bundle: a folder of JSON and safetensors that is opened without unpickling anything.

`bundle.json` says what the model is; `trainer/` holds what the trainer wrote. Every file's SHA-256
is in `bundle.json`, and is checked when the bundle is opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed_sdk.blocks.base import Arrays, Prediction
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.ensemble import joined
from seedbed_sdk.errors import FailedPrecondition, FieldViolation, InvalidArgument
from seedbed_sdk.space import Parameters
from seedbed_sdk.trainer import AnsweringTrainer, Blueprint, Hardware, Trainer

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.registry import Registry

FORMAT = 1
MANIFEST = "bundle.json"
TRAINER = "trainer"


@dataclass(frozen=True, slots=True)
class Member:
    """What a trainer of an ensemble is built from, and its share in the answer."""

    architecture: str
    parameters: Parameters
    seed: int
    weight: float


@dataclass(frozen=True)
class Predictor:
    """An opened model. Answers raw items with typed predictions."""

    block: DataBlock
    trainer: Trainer
    manifest: Mapping[str, Any]

    def predict(self, examples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction for each example, a mapping of column to raw value.

        Raises InvalidArgument with a violation for each column that is missing or not known, and
        for each value that cannot be used; `None` stands for a missing value.
        """
        if not examples:
            return []
        if isinstance(self.trainer, AnsweringTrainer):
            return self.trainer.answer(self.block, examples)
        arrays = encode_raw(self.block, examples)
        return self.block.target.decode(self.trainer.predict(arrays))


def encode_raw(block: DataBlock, examples: Sequence[Mapping[str, Any]]) -> Arrays:
    """The encoded inputs of examples, mappings of column to raw value.

    Raises InvalidArgument with a violation for each column that is missing or not known, and for
    each value that cannot be used.
    """
    _check_columns(examples, block)
    items = _frame(examples, [field.name for field in block.fields()])
    arrays, problems = block.encode_examples(items)
    if problems:
        raise InvalidArgument.of(
            [FieldViolation(f"examples[{p.position}]", p.reason) for p in problems],
            reason="UNUSABLE_EXAMPLE",
        )
    return arrays


def write(
    folder: Path,
    *,
    block: DataBlock,
    trainer: Trainer,
    architecture: str,
    parameters: Parameters,
    seed: int,
    about: Mapping[str, Any],
    members: Sequence[Member] = (),
) -> None:
    """Writes a bundle into an existing empty folder. `about` is JSON-able and for readers: task,
    plugin, scores, fingerprint; opening needs none of it. `members` are those of an
    `EnsembleTrainer`, in its order. Raises OSError where the disk is full."""
    (folder / TRAINER).mkdir()
    trainer.save(folder / TRAINER)
    manifest = {
        "format": FORMAT,
        **about,
        "architecture": architecture,
        "parameters": parameters,
        "seed": seed,
        **({"members": [asdict(member) for member in members]} if members else {}),
        "data_block": block.state(),
        "digest": digest_of(folder / TRAINER),
        "files": {
            path.relative_to(folder).as_posix(): _sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n")


def digest_of(folder: Path) -> str:
    """SHA-256 over the sorted names and the contents of a trainer's files, as 64 hexadecimal
    digits: the same for the same weights."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(f"{path.relative_to(folder).as_posix()}\0{_sha256(path)}\0".encode())
    return whole.hexdigest()


def open_bundle(folder: Path, registry: Registry, hardware: Hardware) -> Predictor:
    """Opens a bundle with the installed architectures and types of data.

    Raises FailedPrecondition where the format is newer, the architecture is not installed, or a
    file is missing or was changed.
    """
    manifest = json.loads((folder / MANIFEST).read_text())
    if manifest.get("format") != FORMAT:
        raise FailedPrecondition(
            f"the bundle has format {manifest.get('format')!r}; this version opens {FORMAT}",
            reason="UNKNOWN_BUNDLE_FORMAT",
        )
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or _sha256(path) != digest:
            raise FailedPrecondition(
                f"file {name!r} of the bundle is missing or was changed; download the model again",
                reason="BUNDLE_DAMAGED",
            )
    block = DataBlock.from_state(manifest["data_block"], registry.blocks)
    members = manifest.get("members", [])
    built = [_built(of, manifest, block, registry, hardware) for of in members or [manifest]]
    trainer: Trainer = built[0]
    if members:
        trainer = joined(built, [member["weight"] for member in members])
    trainer.load(folder / TRAINER)
    return Predictor(block, trainer, manifest)


def _built(
    of: Mapping[str, Any],
    manifest: Mapping[str, Any],
    block: DataBlock,
    registry: Registry,
    hardware: Hardware,
) -> Trainer:
    """The trainer of a model, or of a member of one, that has not been loaded yet."""
    architecture = registry.architectures.get(of["architecture"])
    if architecture is None:
        raise FailedPrecondition(
            f"the model needs the architecture {of['architecture']!r} of package "
            f"{manifest.get('package', '?')!r}, which is not installed",
            reason="ARCHITECTURE_NOT_INSTALLED",
        )
    return architecture.build(Blueprint(block, of["parameters"], hardware, of["seed"]))


def _check_columns(examples: Sequence[Mapping[str, Any]], block: DataBlock) -> None:
    """Columns that the training data had and the model does not use may be there or not."""
    names = {field.name for field in block.fields()}
    ignored = {name for part in block.inputs for name in part.ignored}
    violations = []
    for index, example in enumerate(examples):
        for name in sorted(names - example.keys()):
            violations.append(
                FieldViolation(
                    f'examples[{index}].fields["{name}"]',
                    "missing; give every column the model was trained on, null where unknown",
                )
            )
        for name in sorted(example.keys() - names - ignored):
            violations.append(
                FieldViolation(
                    f'examples[{index}].fields["{name}"]',
                    f"no such column; the model predicts from {', '.join(sorted(names))}",
                )
            )
    if violations:
        raise InvalidArgument.of(violations[:20], reason="WRONG_COLUMNS")


def _frame(examples: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    columns = {name: pd.Series([e[name] for e in examples], dtype=object) for name in names}
    return pd.DataFrame(columns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
