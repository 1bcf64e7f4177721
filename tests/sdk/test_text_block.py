"""Text of any kind is kept as it is, within bounds, and says what is wrong with what is no text."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.blocks.text import MAX_BYTES, MIN_BYTES, TextBlock, texts_of
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument


def frame(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"text": pd.Series(values, dtype=object)})


def fitted(*values: object) -> TextBlock:
    block = TextBlock()
    block.fit(frame(*values))
    return block


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1))
def test_any_text_comes_back_as_it_was(texts: list[str]) -> None:
    encoded = fitted(*texts).encode(frame(*texts))
    assert not encoded.problems
    assert texts_of(encoded.arrays) == texts


@pytest.mark.parametrize("text", ["", "\0a\0", "भाषा 言語 لغة", "👩‍👩‍👧 🏳️‍🌈", "line\r\nline", " "])
def test_unusual_text_is_text(text: str) -> None:
    encoded = fitted("some text").encode(frame(text))
    assert not encoded.problems
    assert texts_of(encoded.arrays) == [text]


def test_halves_of_characters_are_joined_or_replaced() -> None:
    encoded = fitted("x").encode(frame("\ud83d\ude00", "a\ud83d"))
    assert texts_of(encoded.arrays) == ["😀", "a\ufffd"]


def test_long_text_is_cut_between_characters() -> None:
    block = fitted("é" * 100_000)
    assert block.max_bytes == MAX_BYTES
    (text,) = texts_of(block.encode(frame("x" + "é" * 100_000)).arrays)
    assert text == "x" + "é" * ((MAX_BYTES - 1) // 2)


def test_size_follows_the_training_texts_within_bounds() -> None:
    assert fitted("short").max_bytes == MIN_BYTES
    assert fitted("x" * 3_000).max_bytes == 3_000
    arrays = fitted("short").encode(frame("a", "bc")).arrays
    assert arrays["text"].shape == (2, MIN_BYTES) and arrays["text"].dtype == np.uint8
    assert arrays["text_bytes"].tolist() == [1, 2] and arrays["text_bytes"].dtype == np.int32


def test_what_is_no_text_is_a_problem_with_its_row() -> None:
    items = frame("fine", None, float("nan"), ["a", "list"], 12.0, True)
    encoded = fitted("fine").encode(items)
    assert [p.position for p in encoded.problems] == [1, 2, 3]
    assert "nothing where text is expected" in encoded.problems[0].reason
    assert "list" in encoded.problems[2].reason
    assert texts_of(encoded.arrays, np.array([0, 4, 5])) == ["fine", "12", "True"]
    assert not encoded.arrays["text"][[1, 2, 3]].any()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve".encode(), "naïve"),
        (b"\xef\xbb\xbfmark", "mark"),
        ("ünï".encode("utf-16"), "ünï"),
        ("na\xefve".encode("cp1252"), "naïve"),
        (b"", ""),
    ],
)
def test_files_are_read_in_the_usual_encodings(data: bytes, text: str) -> None:
    encoded = fitted("x").encode(frame(FileRef("a.txt", lambda: data), data))
    assert not encoded.problems
    assert texts_of(encoded.arrays) == [text, text]


def test_files_that_cannot_be_read_are_named() -> None:
    def absent() -> bytes:
        raise FileNotFoundError(2, "no such file", "gone.txt")

    items = frame(FileRef("gone.txt", absent), FileRef("a.bin", lambda: b"\x00\xff\xfe\x80"))
    problems = fitted("x").encode(items).problems
    assert [p.name for p in problems] == ["gone.txt", "a.bin"]
    assert "no such file" in problems[0].reason and "zero bytes" in problems[1].reason


def test_several_columns_are_joined_and_only_all_null_is_a_problem() -> None:
    items = pd.DataFrame({"title": ["a", None, None], "body": ["b", "c", None]})
    block = TextBlock(["title", "body"])
    block.fit(items)
    encoded = block.encode(items)
    assert texts_of(encoded.arrays)[:2] == ["a\nb", "c"]
    assert [p.position for p in encoded.problems] == [2]
    assert [f.name for f in block.fields()] == ["title", "body"]


def test_state_is_json_and_makes_the_same_block() -> None:
    block = fitted("x" * 700)
    again = TextBlock.from_state(json.loads(json.dumps(block.state())))
    assert again.columns == block.columns and again.max_bytes == 700


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="none of 2 training texts"):
        fitted(None, None)
    with pytest.raises(InvalidArgument, match="no column 'text'"):
        TextBlock().fit(pd.DataFrame({"other": ["a"]}))
