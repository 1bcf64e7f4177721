"""A column of free text as a few numbers: latent semantic analysis (Deerwester et al. 1990)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.vocabulary import pack, unpack

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer

TOPICS = 16
MAX_WORDS = 3_000
LEARNT_FROM = 20_000
MAX_CHARACTERS = 10_000
CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class TopicFeature:
    """What a column of text is encoded with: `words` W, their inverse document frequencies `idf`
    float32 [W], and `axes` float32 [W, topics], on which a text's weighted words are projected."""

    column: str
    words: tuple[str, ...]
    idf: Array
    axes: Array

    def encode(self, column: pd.Series) -> Array:
        """float32 [N, topics]; NaN where the text is missing."""
        vectorizer = _vectorizer(self.words)
        vectorizer.idf_ = self.idf
        topics = np.empty((len(column), self.axes.shape[1]), dtype=np.float32)
        for start in range(0, len(column), CHUNK):
            part = column.iloc[start : start + CHUNK]
            topics[start : start + CHUNK] = vectorizer.transform(_texts(part)) @ self.axes
        topics[column.isna().to_numpy()] = np.nan
        return topics

    def state(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "words": list(self.words),
            "idf": pack(self.idf),
            "axes": pack(self.axes),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TopicFeature:
        axes = unpack(state["axes"])
        return cls(state["column"], tuple(state["words"]), unpack(state["idf"]), axes)


def sampled(column: pd.Series) -> pd.Series:
    """At most 20,000 of the texts, spread over the column, without the missing ones."""
    known = column.dropna()
    return known.iloc[:: -(-len(known) // LEARNT_FROM) or 1]


def learn_topics(name: str, texts: pd.Series) -> TopicFeature | None:
    """Learns from texts none of which is missing; None where no word occurs in two of them."""
    from sklearn.utils.extmath import randomized_svd

    vectorizer = _vectorizer(None)
    try:
        weighted = vectorizer.fit_transform(_texts(texts))
    except ValueError:  # scikit-learn's way to say that no word is left
        return None
    words = tuple(str(word) for word in vectorizer.get_feature_names_out())
    count = min(TOPICS, min(weighted.shape) - 1)
    if count < 1:
        return None
    _, sizes, axes = randomized_svd(weighted, count, random_state=0)
    kept = axes[sizes > 1e-6 * sizes[0]]
    return TopicFeature(
        name, words, vectorizer.idf_.astype(np.float32), np.ascontiguousarray(kept.T, np.float32)
    )


def _vectorizer(words: tuple[str, ...] | None) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        sublinear_tf=True,
        dtype=np.float32,
        min_df=2 if words is None else 1,
        max_features=MAX_WORDS,
        vocabulary=words,
    )


def _texts(column: pd.Series) -> Iterator[str]:
    missing = column.isna().to_numpy()
    for value, absent in zip(column, missing, strict=True):
        yield "" if absent else str(value)[:MAX_CHARACTERS]
