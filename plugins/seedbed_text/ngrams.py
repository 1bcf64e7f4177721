"""Weighted counts of words, pairs of words and runs of characters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.text import texts_of
from seedbed_sdk.trainer import Data, Interrupted, Run
from seedbed_text.pace import MIN_ROWS, affordable_rows

if TYPE_CHECKING:
    from scipy import sparse

WORD = "word"
CHARACTER = "character"
VOCABULARY = "ngrams.json"
WEIGHTS = "ngrams.safetensors"
RARE_FROM = 100

_PARTS: dict[str, dict[str, Any]] = {
    WORD: {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\w+|[^\w\s]"},
    CHARACTER: {"analyzer": "char_wb", "ngram_range": (2, 5)},
}


class NGrams:
    """Words, signs and pairs of these, and runs of 2 to 5 characters within a word, which know
    misspelt and inflected words and scripts without spaces. Their counts are weighted as TF-IDF.

    Learns those that occur in two texts at least, the most frequent `max_size` of each kind; of
    fewer than 100 texts, all. `size` is the number of features.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._vectorizers: list[Any] = []

    @property
    def size(self) -> int:
        return sum(len(vectorizer.vocabulary_) for vectorizer in self._vectorizers)

    def fit(self, texts: Sequence[str], run: Run) -> sparse.csr_matrix:
        """The features of the training texts, float32 [N, size], each row of each kind of unit
        norm. Raises Interrupted where the run is to stop."""
        self._vectorizers = []
        parts = []
        for kind in _PARTS:
            vectorizer = self._make(kind, min_df=2 if len(texts) >= RARE_FROM else 1)
            try:
                parts.append(vectorizer.fit_transform(_watched(texts, run)))
            except ValueError:  # Nothing of this kind occurs often enough to be learned.
                continue
            self._vectorizers.append(vectorizer)
        return self._stack(parts, len(texts))

    def transform(self, texts: Sequence[str], run: Run | None = None) -> sparse.csr_matrix:
        """The features of other texts, float32 [N, size]."""
        parts = [v.transform(_watched(texts, run)) for v in self._vectorizers]
        return self._stack(parts, len(texts))

    def save(self, folder: Path) -> None:
        """Writes the vocabularies as JSON and the weights as safetensors."""
        from safetensors.numpy import save_file

        vocabularies = {
            v.analyzer: sorted(v.vocabulary_, key=v.vocabulary_.__getitem__)
            for v in self._vectorizers
        }
        text = json.dumps(vocabularies, ensure_ascii=False)
        (folder / VOCABULARY).write_text(text, encoding="utf-8")
        weights = {v.analyzer: np.ascontiguousarray(v.idf_) for v in self._vectorizers}
        save_file(weights, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""
        from safetensors.numpy import load_file

        vocabularies = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
        self._vectorizers = []
        for kind, options in _PARTS.items():
            analyzer = options["analyzer"]
            if analyzer in vocabularies:
                vectorizer = self._make(kind, vocabulary=vocabularies[analyzer])
                vectorizer.idf_ = weights[analyzer]
                self._vectorizers.append(vectorizer)

    def _make(self, kind: str, **options: Any) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            **_PARTS[kind],
            **options,
            max_features=self.max_size,
            sublinear_tf=True,
            dtype=np.float32,
        )

    def _stack(self, parts: list[Any], count: int) -> sparse.csr_matrix:
        from scipy import sparse

        if not parts:
            return sparse.csr_matrix(np.zeros((count, 0), dtype=np.float32))
        features: sparse.csr_matrix = sparse.hstack(parts, format="csr")
        return features


@dataclass(frozen=True, slots=True)
class NGramSplits:
    """Features of both splits, what made them, and the training items that were used."""

    ngrams: NGrams
    train: sparse.csr_matrix
    valid: sparse.csr_matrix
    rows: Array


def ngram_splits(data: Data, max_size: int, run: Run, rows: Array) -> NGramSplits:
    """Learns n-grams from the training items `rows`, or from as many of them as there is time for;
    once for all trials of a job. Raises Interrupted where the run is to stop."""

    def compute() -> NGramSplits:
        chosen = rows[_affordable(data, max_size, run, len(rows))]
        ngrams = NGrams(max_size)
        train = ngrams.fit(texts_of(data.train.inputs, chosen), run)
        return NGramSplits(
            ngrams, train, ngrams.transform(texts_of(data.valid.inputs), run), chosen
        )

    return data.cached(("ngrams", max_size, len(rows)), compute)


def _affordable(data: Data, max_size: int, run: Run, count: int) -> Array:
    def each() -> float:
        began = time.monotonic()
        sample = texts_of(data.train.inputs, slice(MIN_ROWS))
        NGrams(max_size).fit(sample, run)
        return (time.monotonic() - began) / max(1, len(sample))

    return affordable_rows(f"ngrams {max_size}", count, len(data.valid), each, run)


def _watched(texts: Sequence[str], run: Run | None) -> Iterator[str]:
    for index, text in enumerate(texts):
        if run is not None and index % MIN_ROWS == 0 and run.should_stop():
            raise Interrupted("stopped while the texts were taken apart")
        yield text
