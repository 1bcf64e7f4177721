"""Sentence vectors of a frozen encoder, computed once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.text import texts_of
from seedbed_sdk.trainer import Data, Interrupted, Run
from seedbed_text import encoders
from seedbed_text.encoder import Encoder
from seedbed_text.pace import affordable_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = "encoder.safetensors"
TOKENS_PER_BATCH = 1_024
TOKENS_PER_BATCH_ACCELERATED = 32_768
MEASURED = 64


@dataclass(frozen=True, slots=True)
class EmbeddedSplits:
    """Vectors, float32 [N, width], of both splits. `rows` are the training items that were used:
    all, unless the time left allows fewer."""

    train: Array
    valid: Array
    rows: Array


class Embeddings:
    """Texts to vectors of unit length by the encoder `name`, which reads the first `max_tokens`
    tokens of each."""

    def __init__(self, name: str, max_tokens: int, device: str) -> None:
        self.name = name
        self.max_tokens = max_tokens
        self.device = torch.device(device)
        self._encoder: Encoder | None = None
        self._tokenizer: encoders.Tokenizer | None = None

    def splits(self, data: Data, run: Run) -> EmbeddedSplits:
        """The vectors of both splits, kept for all trials and, unless time is too short for every
        item, for later jobs. Raises Interrupted where the run is to stop."""
        key = ("embeddings", self.name, self.max_tokens)
        if (shortened := data.cache.get((*key, "shortened"))) is not None:
            assert isinstance(shortened, EmbeddedSplits)
            return shortened
        train, valid = texts_of(data.train.inputs), texts_of(data.valid.inputs)

        what = " ".join(map(str, key))

        def compute() -> Arrays:
            rows = affordable_rows(
                what, len(train), len(valid), lambda: self._measure(train, run), run
            )
            if len(rows) < len(train):
                raise _TimeIsShort(rows)
            run.log(f"running {self.name} over {len(train) + len(valid)} texts once")
            return self._both(train, valid, run)

        def compute_some(rows: Array) -> EmbeddedSplits:
            some = self._both([train[row] for row in rows], valid, run)
            return EmbeddedSplits(some["train"], some["valid"], rows)

        known = affordable_rows(what, len(train), len(valid), lambda: 0.0, run)
        if len(known) < len(train):
            return data.cached((*key, "shortened"), lambda: compute_some(known))
        try:
            arrays = data.stored(key, compute)
        except _TimeIsShort as error:
            rows = error.rows
            return data.cached((*key, "shortened"), lambda: compute_some(rows))
        return EmbeddedSplits(arrays["train"], arrays["valid"], np.arange(len(train)))

    def transform(self, texts: Sequence[str], run: Run | None = None) -> Array:
        """Vectors of unit length, float32 [N, width]. Equal texts are computed once, and those of
        similar length together. Raises Interrupted where the run is to stop."""
        encoder, tokenizer = self._load()
        different = list(dict.fromkeys(texts))
        tokens = tokenizer(different, self.max_tokens)
        vectors = np.zeros((len(different), encoder.width), dtype=np.float32)
        with torch.inference_mode():
            for rows in self._batches(tokens["length"]):
                if run is not None and run.should_stop():
                    raise Interrupted("stopped while the texts were encoded")
                batch = {k: torch.from_numpy(v[rows]).to(self.device) for k, v in tokens.items()}
                made = torch.nn.functional.normalize(encoder(batch).float(), dim=1)
                vectors[rows] = made.cpu().numpy()
        place = {text: i for i, text in enumerate(different)}
        return vectors[[place[text] for text in texts]]

    def save(self, folder: Path) -> None:
        """Writes the encoder's weights and its tokenizer."""
        encoder, tokenizer = self._load()
        state = {k: v.contiguous().cpu() for k, v in encoder.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        tokenizer.save(folder)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote; needs no installed weights."""
        encoder = Encoder(encoders.SHAPES[self.name])
        encoder.load_state_dict(load_file(folder / WEIGHTS))
        self._encoder = encoder.to(self.device).eval()
        self._tokenizer = encoders.Tokenizer(self.name, folder / encoders.TOKENIZER)

    def _both(self, train: Sequence[str], valid: Sequence[str], run: Run) -> Arrays:
        return {"train": self.transform(train, run), "valid": self.transform(valid, run)}

    def _measure(self, texts: Sequence[str], run: Run) -> float:
        """Seconds for a text, from some that are spread over all; nothing is done and 0 returned
        where time does not matter."""
        if math.isinf(run.seconds_left()):
            return 0.0
        sample = [texts[i] for i in np.linspace(0, len(texts) - 1, MEASURED).astype(int)]
        self._load()
        began = time.monotonic()
        self.transform(sample, run)
        return (time.monotonic() - began) / len(set(sample))

    def _load(self) -> tuple[Encoder, encoders.Tokenizer]:
        if self._encoder is None or self._tokenizer is None:
            self._encoder = encoders.load(self.name).to(self.device)
            self._tokenizer = encoders.Tokenizer(self.name)
        return self._encoder, self._tokenizer

    def _batches(self, length: Array) -> list[Array]:
        """Items by length, as many to a batch as its tokens, padding included, allow."""
        fits = TOKENS_PER_BATCH if self.device.type == "cpu" else TOKENS_PER_BATCH_ACCELERATED
        order = np.argsort(length, kind="stable")
        batches, start = [], 0
        while start < len(order):
            # Lengths rise, so the last item of the batch is what all are padded to.
            ahead = order[start : start + fits]
            sizes = length[ahead] * np.arange(1, len(ahead) + 1)
            count = max(1, int(np.searchsorted(sizes, fits, side="right")))
            batches.append(order[start : start + count])
            start += count
        return batches


class _TimeIsShort(Exception):
    """Says which training items there is time for."""

    def __init__(self, rows: Array) -> None:
        super().__init__(f"time for {len(rows)} training items only")
        self.rows = rows
