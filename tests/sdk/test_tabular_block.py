"""The block for rows: types of columns, encoding, bad values, state."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_sdk.blocks.column_features import FIRST_CODE, MISSING, OTHER
from seedbed_sdk.blocks.tabular import TabularBlock, infer_column_type
from seedbed_sdk.errors import InvalidArgument


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [20.0, 30.0, np.nan, 50.0, 60.0, 30.0],
            "city": ["Rome", "Oslo", "Rome", None, "Oslo", "Bern"],
            "joined": [
                "2020-01-06",
                "2021-03-01 12:00",
                None,
                "2020-07-01",
                "2022-01-01",
                "2020-02-02",
            ],
            "member": [True, False, None, True, True, False],
        }
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], "numeric"),
        ([1.5, None], "numeric"),
        (["1", "?", "3.5"], "numeric"),
        ([True, None], "boolean"),
        (["True", "false", None], "boolean"),
        (["2020-01-01", "2021-02-03", None], "date"),
        (["03/02/2020", "13/02/2020"], "date"),
        (["3 Jan 2020", "Feb 3, 2021"], "date"),
        ([datetime.date(2020, 1, 1), None], "date"),
        (["1.2.3", "2.3.4"], "category"),
        (["10.0.0.1", "10.0.0.2"], "category"),
        (["a", 1, None], "category"),
        ([f"this is message number {i}" for i in range(60)], "text"),
        ([[1], [2]], "text"),
        ([None, None], "empty"),
        (["", "?", None], "empty"),
    ],
)
def test_infers_the_type_of_a_column(values: list[object], expected: str) -> None:
    assert infer_column_type(pd.Series(values)) == expected
    assert infer_column_type(pd.Series(values, dtype=object)) == expected


def test_encodes_numbers_categories_dates_and_booleans() -> None:
    block = TabularBlock()
    block.fit(frame())
    encoded = block.encode(frame())
    assert not encoded.problems
    assert [(f.name, f.type) for f in block.fields()] == [
        ("age", "numeric"),
        ("city", "category"),
        ("joined", "date"),
        ("member", "boolean"),
    ]
    numeric = pd.DataFrame(encoded.arrays["numeric"], columns=[f.name for f in block.numeric])
    offset = {f.name: f.offset for f in block.numeric}
    assert encoded.arrays["numeric"].dtype == np.float32
    np.testing.assert_array_equal(numeric["age"], [20, 30, np.nan, 50, 60, 30])
    np.testing.assert_array_equal(numeric["member"], [1, 0, np.nan, 1, 1, 0])
    np.testing.assert_array_equal(numeric["joined.day_of_week"][:2], [0, 0])
    np.testing.assert_array_equal(numeric["joined.hour"][:3], [0, 12, np.nan])
    np.testing.assert_array_equal(
        numeric["joined.year"] + offset["joined.year"], [2020, 2021, np.nan, 2020, 2022, 2020]
    )
    days = numeric["joined.elapsed_days"] + offset["joined.elapsed_days"]
    assert days[1] - days[0] == 420.5
    (city,) = block.categorical
    assert city.vocabulary == ("Oslo", "Rome")
    assert encoded.arrays["categorical"].dtype == np.int32
    assert encoded.arrays["categorical"][:, 0].tolist() == [
        FIRST_CODE + 1,
        FIRST_CODE,
        FIRST_CODE + 1,
        MISSING,
        FIRST_CODE,
        OTHER,
    ]


def test_rows_of_python_values_are_encoded_like_the_table() -> None:
    block = TabularBlock()
    block.fit(frame())
    rows = pd.DataFrame(
        [
            {
                "age": 30,
                "city": "Oslo",
                "joined": datetime.datetime(2021, 3, 1, 12, tzinfo=datetime.UTC),
                "member": False,
            },
            {"age": None, "city": None, "joined": None, "member": None},
            {"age": "30", "city": "Atlantis", "joined": "2021-03-01T12:00:00Z", "member": 0},
        ],
        dtype=object,
    )
    encoded = block.encode(rows)
    assert not encoded.problems
    table = block.encode(frame())
    numeric = encoded.arrays["numeric"]
    np.testing.assert_array_equal(numeric[0], table.arrays["numeric"][1])
    np.testing.assert_array_equal(numeric[2], table.arrays["numeric"][1])
    assert np.isnan(numeric[1]).all()
    assert encoded.arrays["categorical"][:, 0].tolist() == [FIRST_CODE, MISSING, OTHER]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age", "old", "column 'age' takes a number, got text 'old'; use null where it is unknown"),
        ("age", pd.Timestamp("2020-01-01"), "column 'age' takes a number, got date 2020-01-01"),
        ("age", [3], "column 'age' takes a number, got list '[3]'"),
        ("joined", 5, "column 'joined' takes a date such as 2024-05-31, got number 5"),
        ("joined", "soon", "column 'joined' takes a date such as 2024-05-31, got text 'soon'"),
        ("member", "maybe", "column 'member' takes true or false, got text 'maybe'"),
        ("city", [1], "column 'city' takes text, a number or a boolean, got list '[1]'"),
        ("city", b"x", "column 'city' takes text, a number or a boolean, got bytes"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_problem(column: str, value: object, message: str) -> None:
    block = TabularBlock()
    block.fit(frame())
    rows = frame().astype(object)
    rows.at[1, column] = value
    encoded = block.encode(rows)
    (problem,) = encoded.problems
    assert (problem.position, problem.name) == (1, "row 1")
    assert problem.reason.startswith(message)
    assert not encoded.arrays["numeric"][1].any()
    assert not encoded.arrays["categorical"][1].any()
    good = block.encode(frame())
    np.testing.assert_array_equal(encoded.arrays["numeric"][2:], good.arrays["numeric"][2:])


def test_columns_with_nothing_to_learn_are_left_out_with_the_reason() -> None:
    table = frame().assign(
        constant=1,
        empty=None,
        key=list("abcdef"),
        note=[f"some words about item {i}" for i in range(6)],
    )
    block = TabularBlock({**dict.fromkeys(table.columns, "auto"), "note": "text"})
    block.fit(table)
    assert block.columns == ("age", "city", "joined", "member")
    assert block.ignored == {
        "constant": "has the same value in every row",
        "empty": "has no values",
        "key": "has a different value in every row",
        "note": "holds free text that is the same in every row",
    }


def test_a_single_value_that_is_sometimes_missing_is_kept() -> None:
    block = TabularBlock()
    block.fit(pd.DataFrame({"flag": [5.0, np.nan, 5.0], "word": ["yes", None, "yes"]}))
    assert block.columns == ("flag", "word")


def test_no_usable_column_is_an_error_that_says_why() -> None:
    with pytest.raises(
        InvalidArgument, match="no column to learn from: 'a' has the same value"
    ) as e:
        TabularBlock().fit(pd.DataFrame({"a": [1, 1, 1]}))
    assert e.value.reason == "NO_USABLE_COLUMN"
    assert e.value.violations[0].field == "job.dataset"


def test_a_missing_column_is_an_error_that_names_it() -> None:
    block = TabularBlock()
    block.fit(frame())
    with pytest.raises(InvalidArgument, match="no column 'age' among city, joined, member"):
        block.encode(frame().drop(columns="age"))


def test_types_can_be_given() -> None:
    block = TabularBlock({"code": "category"})
    block.fit(pd.DataFrame({"code": [1.0, 2.0, 1.0, 2.0, np.nan]}))
    (code,) = block.categorical
    assert code.vocabulary == ("1", "2")
    encoded = block.encode(pd.DataFrame({"code": [1, 2, 3]})).arrays["categorical"][:, 0]
    assert encoded.tolist() == [FIRST_CODE, FIRST_CODE + 1, OTHER]


@pytest.mark.parametrize(
    ("texts", "month"),
    [
        (["03/02/2020", "13/02/2020"], 2),
        (["03/02/2020", "12/13/2020"], 3),
        (["3.2.2020", "4.5.2020"], 2),
    ],
)
def test_the_order_of_day_and_month_follows_from_the_column(texts: list[str], month: int) -> None:
    block = TabularBlock()
    block.fit(pd.DataFrame({"day": [*texts, None]}))
    encoded = block.encode(pd.DataFrame({"day": texts})).arrays["numeric"]
    (days,) = (i for i, f in enumerate(block.numeric) if f.part == "elapsed_days")
    day = pd.Timestamp(0) + pd.Timedelta(days=float(encoded[0, days]) + block.numeric[days].offset)
    assert day.month == month


def test_large_numbers_keep_their_differences() -> None:
    block = TabularBlock()
    times = pd.DataFrame({"ms": [1_600_000_000_000, 1_600_000_000_005, 1_600_000_000_007]})
    block.fit(times)
    values = block.encode(times).arrays["numeric"][:, 0]
    assert np.diff(values).tolist() == [5, 2]


@pytest.mark.parametrize("year", [1, 1500, 2263, 9999])
def test_dates_beyond_nanoseconds(year: int) -> None:
    days = pd.DataFrame({"day": [datetime.datetime(year, 1, 1), datetime.datetime(year, 1, 2)]})
    block = TabularBlock()
    block.fit(days.astype(object))
    encoded = block.encode(days.astype(object))
    assert not encoded.problems
    (place,) = (i for i, f in enumerate(block.numeric) if f.part == "elapsed_days")
    assert np.diff(encoded.arrays["numeric"][:, place]).tolist() == [1]


def test_rare_numbers_have_edges_of_their_own() -> None:
    block = TabularBlock()
    block.fit(pd.DataFrame({"gain": [0] * 970 + list(range(100, 130))}))
    assert block.numeric[0].edges == (0.0, *map(float, range(100, 130)))


def test_state_survives_json() -> None:
    block = TabularBlock()
    block.fit(frame().assign(text=None))
    copy = TabularBlock.from_state(json.loads(json.dumps(block.state())))
    assert copy.state() == block.state()
    assert copy.numeric == block.numeric
    assert copy.categorical == block.categorical
    assert copy.fields() == block.fields()
    first, second = block.encode(frame()).arrays, copy.encode(frame()).arrays
    np.testing.assert_array_equal(first["numeric"], second["numeric"])
    np.testing.assert_array_equal(first["categorical"], second["categorical"])


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.datetimes(),
    st.dates(),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(scalars, min_size=1, max_size=8), st.sampled_from(sorted(frame().columns)))
def test_any_value_is_encoded_or_a_problem(values: list[object], column: str) -> None:
    block = TabularBlock()
    block.fit(frame())
    row = frame().iloc[0].to_dict()
    rows = pd.DataFrame([{**row, column: value} for value in values], dtype=object)
    encoded = block.encode(rows)
    assert {p.position for p in encoded.problems} <= set(range(len(values)))
    assert not np.isinf(encoded.arrays["numeric"]).any()
    codes = encoded.arrays["categorical"][:, 0]
    assert ((codes >= 0) & (codes < block.categorical[0].cardinality)).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(scalars, max_size=12))
def test_any_column_can_be_fitted_or_is_refused(values: list[object]) -> None:
    column = pd.Series([*values, None], dtype=object)
    block = TabularBlock()
    try:
        block.fit(pd.DataFrame({"x": column}))
    except InvalidArgument as error:
        assert error.reason == "NO_USABLE_COLUMN"
        return
    encoded = block.encode(pd.DataFrame({"x": column}))
    assert len(encoded.arrays["numeric"]) == len(column)
    json.dumps(block.state(), allow_nan=False)


# --- free text -----------------------------------------------------------------------------------


def remarks(count: int = 300) -> pd.DataFrame:
    """Remarks about weather and about food, and some that are missing."""
    generator = np.random.default_rng(0)
    weather = ["rain", "sun", "cloud", "storm", "wind", "snow"]
    food = ["bread", "soup", "cheese", "apple", "salad", "rice"]
    texts = [
        " ".join(generator.choice(weather if i % 2 else food, 6)) + f" today {i}"
        for i in range(count)
    ]
    return pd.DataFrame({"note": [None if i % 50 == 0 else t for i, t in enumerate(texts)]})


def test_free_text_becomes_topics_that_tell_subjects_apart() -> None:
    block = TabularBlock()
    block.fit(remarks())
    assert [(f.name, f.type) for f in block.fields()] == [("note", "text")]
    encoded = block.encode(remarks())
    assert not encoded.problems
    numeric = encoded.arrays["numeric"]
    assert 2 <= numeric.shape[1] <= 16
    missing = remarks()["note"].isna().to_numpy()
    np.testing.assert_array_equal(np.isnan(numeric).all(axis=1), missing)
    weather, food = numeric[1::2], numeric[0::2][~missing[0::2]]
    gap = np.abs(weather.mean(axis=0) - food.mean(axis=0)) / numeric[~missing].std(axis=0)
    assert gap.max() > 1.5

    again = TabularBlock.from_state(json.loads(json.dumps(block.state())))
    np.testing.assert_array_equal(again.encode(remarks()).arrays["numeric"], numeric)
    unseen = again.encode(pd.DataFrame({"note": ["", "quite another subject"]})).arrays["numeric"]
    assert not unseen.any()


def test_text_without_a_repeated_word_and_lists_are_left_out() -> None:
    table = pd.DataFrame(
        {
            "a": [1.0, 2.0, 3.0],
            "text": ["one two three four", "five six seven eight", "nine ten eleven twelve"],
            "list": [[1], [2, 3], [4]],
        }
    )
    block = TabularBlock({"a": "auto", "text": "text", "list": "auto"})
    block.fit(table)
    assert block.ignored == {
        "text": "holds free text without a word that occurs in two rows",
        "list": "holds lists or other values that are neither text nor numbers",
    }
