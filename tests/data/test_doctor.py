"""What the data doctor finds: each planted fault, and nothing where there is none."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_server.data.doctor import examination, examine
from seedbed_server.data.samples import BUILT_IN
from seedbed_server.data.shape import Shape
from seedbed_server.jobs.values import Finding

Random = np.random.Generator
ROWS = 600


def table(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    """A clean table: two numbers and a category tell the class, though not for certain."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "b": random.normal(size=rows).round(2),
            "c": random.choice(["u", "v", "w"], rows),
            "d": random.integers(0, 50, rows),
        }
    )
    score = 2 * frame["a"] + frame["b"] + (frame["c"] == "u") + random.normal(size=rows) * 0.5
    return frame.assign(y=np.where(score > 0.3, "yes", "no"))


def found_in(
    train: pd.DataFrame, test: pd.DataFrame | None = None, target: str = "y", **options: Any
) -> dict[str, Finding]:
    return by_kind(Dataset.from_frame(train, test), target, **options)


def by_kind(dataset: Dataset, target: str = "", **options: Any) -> dict[str, Finding]:
    found = examine(dataset, target, options=options)
    assert all(finding.suggestion or finding.kind == "not_examined" for finding in found)
    return {finding.kind: finding for finding in found}


def grave(found: Mapping[str, Finding]) -> dict[str, str]:
    return {k: f.message for k, f in found.items() if f.severity in ("WARNING", "ERROR")}


def picture(random: Random, tone: int = 0, *, size: tuple[int, int] = (32, 24)) -> Any:
    """A picture of soft shapes; the tone shifts its colours."""
    image = pytest.importorskip("PIL.Image", reason="pictures need seedbed[vision]")
    small = random.integers(0, 200, (5, 6, 3)).astype(np.uint8)
    small[..., 0] = np.clip(small[..., 0].astype(int) + tone, 0, 255)
    return image.fromarray(small).resize(size, image.Resampling.BICUBIC)


def encoded(image: Any, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def files(contents: Mapping[str, bytes]) -> DataSplit:
    return DataSplit(files=tuple(FileRef(n, lambda d=d: d) for n, d in sorted(contents.items())))


def pictures(
    seed: int = 0, count: int = 60, tones: Mapping[str, int] | None = None
) -> dict[str, bytes]:
    random = np.random.default_rng(seed)
    tones = tones or {"cat": 0, "dog": 255}
    return {
        f"{name}/{i:03}.png": encoded(picture(random, tone))
        for name, tone in tones.items()
        for i in range(count)
    }


def folders(train: Mapping[str, bytes], test: Mapping[str, bytes] | None = None) -> Dataset:
    splits = {"train": files(train), **({"test": files(test)} if test else {})}
    return Dataset(splits, "class_folders", content="image")


# --- what is clean ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes", "digits"])
def test_nothing_grave_about_well_kept_data(name: str) -> None:
    assert grave(by_kind(BUILT_IN[name]())) == {}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_grave_about_clean_tables(seed: int) -> None:
    train, test = table(seed), table(seed + 100, 200)
    assert grave(found_in(train, test)) == {}
    assert grave(found_in(train.assign(y=train["a"] + train["d"] / 10), target="y")) == {}
    weak = train.assign(y=np.random.default_rng(seed).permutation(train["y"]))
    assert grave(found_in(weak, test)) == {}
    rare = train.assign(y=np.where(train["a"] + train["b"] > 2.2, "yes", "no"))
    assert grave(found_in(rare)) == {}


def test_nothing_grave_about_clean_pictures_and_texts() -> None:
    assert grave(by_kind(folders(pictures(0), pictures(1, 30)))) == {}
    train, test = messages(0), messages(1, 100)
    assert grave(found_in(train, test, "label")) == {}


def messages(seed: int, rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    words = {"spam": [f"win{i}" for i in range(40)], "ham": [f"home{i}" for i in range(40)]}
    common = [f"the{i}" for i in range(40)]
    labels = random.choice(["spam", "ham"], rows)
    texts = [" ".join(random.choice(words[label] + common, 12)) for label in labels]
    return pd.DataFrame({"text": texts, "label": labels})


# --- columns and target ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (lambda t: [7] * ROWS, "constant_column"),
        (lambda t: [None] * ROWS, "empty_column"),
        (lambda t: range(1, ROWS + 1), "id_column"),
        (lambda t: [f"k{i:05}" for i in range(ROWS)], "id_column"),
        (lambda t: np.where(t["y"] == "yes", "1", "0"), "leaking_column"),
        (lambda t: (t["y"] == "yes") * 5 + np.linspace(0, 1, ROWS), "leaking_column"),
        (lambda t: np.where(t["y"] == "yes", np.nan, t["a"]), "leaking_column"),
        (lambda t: ["train", "test"] * (ROWS // 2), "split_column_unused"),
    ],
)
def test_a_bad_column(column: Callable[[pd.DataFrame], Any], kind: str) -> None:
    train = table()
    found = found_in(train.assign(extra=list(column(train))))
    assert list(grave(found)) == [kind]
    assert found[kind].subject == "extra"


def test_a_column_that_is_the_target_in_another_unit() -> None:
    train = table()
    value = np.exp(train["a"] + train["d"] / 10)
    found = found_in(train.assign(extra=value * 2.54 + 1, y=value))
    assert found["leaking_column"].subject == "extra"
    assert "R² of ranks" in found["leaking_column"].message


def test_rows_in_the_order_of_their_class() -> None:
    train = table().sort_values("y").reset_index(drop=True)
    found = found_in(train.assign(number=range(1000, 1000 + ROWS)))
    assert set(grave(found)) == {"id_column", "leaking_column"}


def test_a_target_with_a_long_tail() -> None:
    train = table()
    found = found_in(train.assign(y=np.exp(train["a"] * 3)))
    assert found["target_skew"].severity == "INFO"
    assert "its median is" in found["target_skew"].message


def test_classes_that_are_rare_or_small() -> None:
    train = table(rows=1200)
    train.loc[:4, "y"] = "rare"
    train.loc[7, "y"] = "lone"
    found = found_in(train)
    assert set(grave(found)) == {"class_imbalance", "small_class"}
    assert "'rare' 5" in found["class_imbalance"].message
    assert "'lone'" in found["small_class"].message


@pytest.mark.parametrize(
    ("ratings", "text"),
    [
        (lambda r: r.integers(1, 6, 500), None),
        (lambda r: r.integers(1, 11, 500) / 2, None),
        (lambda r: r.integers(0, 4000, 500), "different values between"),
        (lambda r: r.choice([1, 2, 3, 4, 99], 500), "99, of which some may mean"),
        (lambda r: r.choice([-1, 1, 2, 3], 500), "-1, 1, 2, 3, of which some may mean"),
        (lambda r: r.choice([1.0, 2.0, 3.7], 500), "in unequal steps"),
    ],
)
def test_ratings(ratings: Callable[[Random], Any], text: str | None) -> None:
    random = np.random.default_rng(0)
    train = pd.DataFrame(
        {
            "userId": random.integers(0, 40, 500),
            "movieId": random.integers(0, 60, 500),
            "rating": ratings(random),
            "timestamp": np.arange(500) * 1000,
        }
    )
    found = grave(found_in(train, train.assign(timestamp=train["timestamp"] + 500_500), "rating"))
    assert list(found) == ([] if text is None else ["rating_scale"])
    assert text is None or text in found["rating_scale"]


# --- copies ----------------------------------------------------------------------------------


def test_rows_that_are_copies() -> None:
    train, test = table(), table(1, 200)
    copied = pd.concat([test, train.head(10)], ignore_index=True)
    found = found_in(train, copied)
    assert list(grave(found)) == ["rows_in_train_and_test"]
    assert "10 of 210 test rows" in found["rows_in_train_and_test"].message
    inside = found_in(pd.concat([train, train.head(10)], ignore_index=True))
    assert inside["duplicate_rows"].message.startswith("10 of 610 training rows")
    assert "rows_in_train_and_test" in found_in(train, train.head(1).astype({"d": "float64"}))


def test_rows_that_are_copies_but_for_one_column() -> None:
    train, test = table(), table(1, 200)
    changed = pd.concat([test, train.head(10).assign(d=99)], ignore_index=True)
    found = found_in(train, changed)
    assert list(grave(found)) == ["near_duplicate_rows_in_test"]
    assert "10 of 210 test rows" in found["near_duplicate_rows_in_test"].message
    assert "'d'" in found["near_duplicate_rows_in_test"].message


def test_equal_rows_of_different_classes() -> None:
    train = table()
    wrong = train.head(8).assign(y=train["y"].head(8).map({"yes": "no", "no": "yes"}))
    again = pd.concat([train, wrong, train.tail(3)], ignore_index=True)
    found = found_in(again.assign(key=range(50, 50 + len(again))))
    conflict = found["conflicting_labels"]
    assert (conflict.severity, conflict.subject) == ("WARNING", "y")
    label, other = train["y"][0], wrong["y"][0]
    assert conflict.message.startswith(
        "16 of 611 training rows have the same 4 inputs as a row of another class, such as row 1, "
        f"which is {label!r}, and row 601, which is {other!r}"
    )
    few = found_in(pd.concat([train, wrong.head(2)], ignore_index=True))
    assert few["conflicting_labels"].severity == "INFO"
    very_few = pd.concat([table(rows=5000), wrong.head(1)], ignore_index=True)
    assert "conflicting_labels" not in found_in(very_few)
    unlabelled = pd.concat([train, wrong.assign(y=None)], ignore_index=True)
    assert "conflicting_labels" not in found_in(unlabelled)
    numbers = again.assign(y=np.arange(len(again)) / 7)
    assert "conflicting_labels" not in found_in(numbers)


def test_equal_texts_of_different_classes() -> None:
    train = messages(0)
    wrong = train.head(5).assign(label=train["label"].head(5).map({"spam": "ham", "ham": "spam"}))
    found = found_in(pd.concat([train, wrong], ignore_index=True), target="label")
    assert found["conflicting_labels"].message.startswith(
        "10 of 305 training rows have the same 1 input as a row of another class"
    )


def test_rows_of_few_values_are_alike_by_chance() -> None:
    few = table()[["c", "d", "y"]].assign(d=lambda t: t["d"] % 4)
    assert by_kind(Dataset.from_frame(few, few.head(100)), "y") == {}


def test_texts_that_are_nearly_copies() -> None:
    train, test = messages(0), messages(1, 100)
    test.loc[:4, "text"] = train["text"].head(5).str.upper() + "! 12"
    found = found_in(train, test, "label")
    assert list(grave(found)) == ["near_duplicate_texts_in_test"]
    assert "5 of 100 test texts" in found["near_duplicate_texts_in_test"].message


def test_files_that_are_copies() -> None:
    train, test = pictures(0), pictures(1, 30)
    test["cat/copy.png"] = train["cat/000.png"]
    train["cat/again.png"] = train["cat/001.png"]
    train["dog/wrong.png"] = train["cat/002.png"]
    found = by_kind(folders(train, test))
    assert list(grave(found)) == ["same_file_in_two_classes", "files_in_train_and_test"]
    assert "'cat/copy.png' like 'cat/000.png'" in found["files_in_train_and_test"].message
    assert "'dog/wrong.png' like 'cat/002.png'" in found["same_file_in_two_classes"].message
    assert found["duplicate_files"].message.startswith("2 of 122 training files")


def test_pictures_that_are_almost_the_same() -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need seedbed[vision]")
    train, test = pictures(0), pictures(1, 30)
    for i in range(4):
        same = image.open(io.BytesIO(train[f"cat/{i:03}.png"]))
        test[f"cat/jpeg{i}.jpg"] = encoded(same.resize((64, 48)).convert("RGB"), "JPEG")
    found = by_kind(folders(train, test))
    assert list(grave(found)) == ["near_duplicate_files_in_test"]
    message = found["near_duplicate_files_in_test"].message
    assert message.startswith("4 of 64 test pictures")
    assert "'cat/jpeg0.jpg' like 'cat/000.png'" in message


# --- labels ----------------------------------------------------------------------------------


def test_wrong_labels_in_a_table() -> None:
    train = table(rows=1000)
    train["a"] *= 4
    train["y"] = np.where(train["a"] > 0, "yes", "no")
    wrong = np.random.default_rng(0).choice(1000, 40, replace=False)
    train.loc[wrong, "y"] = np.where(train.loc[wrong, "a"] > 0, "no", "yes")
    found = found_in(train)
    assert list(grave(found)) == ["suspicious_labels"]
    named = {
        int(part.split(" ")[0]) for part in found["suspicious_labels"].message.split("row ")[1:]
    }
    assert named <= set(wrong + 1)


def test_wrong_labels_of_pictures_and_texts() -> None:
    train = pictures(0)
    for i in range(6):
        a, b = f"cat/{i:03}.png", f"dog/{i:03}.png"
        train[a], train[b] = train[b], train[a]
    found = by_kind(folders(train))
    assert list(grave(found)) == ["suspicious_labels"]
    assert "'cat' and looks like 'dog'" in found["suspicious_labels"].message
    texts = messages(0)
    texts.loc[:11, "label"] = texts.loc[:11, "label"].map({"spam": "ham", "ham": "spam"})
    assert list(grave(found_in(texts, target="label"))) == ["suspicious_labels"]


# --- damaged items ---------------------------------------------------------------------------


def test_damaged_pictures_are_named() -> None:
    train = pictures(0)
    train["cat/000.png"] = train["cat/000.png"][:-200]
    train["cat/001.png"] = b"no picture"
    found = by_kind(folders(train))
    assert list(grave(found)) == ["damaged_items"]
    message = found["damaged_items"].message
    assert "2 of 120 train files" in message
    assert "'cat/000.png'" in message
    assert "'cat/001.png'" in message


def test_damaged_sounds_are_named() -> None:
    soundfile = pytest.importorskip("soundfile", reason="sounds need seedbed[audio]")
    contents = {}
    for i in range(6):
        file = io.BytesIO()
        wave = np.random.default_rng(i).normal(size=4000) * 0.1
        soundfile.write(file, wave, 8000, format="WAV")
        contents[f"{'ab'[i % 2]}/{i}.wav"] = file.getvalue()
    empty = io.BytesIO()
    soundfile.write(empty, np.zeros(0), 8000, format="WAV")
    contents["a/empty.wav"] = empty.getvalue()
    contents["a/noise.wav"] = b"RIFF" + bytes(100)
    dataset = Dataset({"train": files(contents)}, "class_folders", content="audio")
    message = by_kind(dataset)["damaged_items"].message
    assert "2 of 8 train files" in message
    assert "'a/empty.wav' has no samples" in message
    assert "'a/noise.wav' cannot be decoded" in message


def test_files_that_cannot_be_read_and_texts_that_are_none() -> None:
    def fail() -> bytes:
        raise OSError("is gone")

    refs = (FileRef("a/1.txt", fail), FileRef("b/2.txt", lambda: b"\xff\xfe\xff"))
    dataset = Dataset({"train": DataSplit(files=refs)}, "class_folders", content="text")
    message = by_kind(dataset)["damaged_items"].message
    assert "'a/1.txt' is gone; 'b/2.txt' is not UTF-8: byte 0xff at 0" in message


@pytest.fixture
def masks() -> Callable[..., DataSplit]:
    random = np.random.default_rng(0)
    return partial(masked, random)


def masked(random: Random, values: Mapping[str, tuple[tuple[int, int], list[int]]]) -> DataSplit:
    """Pictures of 32 x 24, no two the same, with masks of a size and values."""
    image = pytest.importorskip("PIL.Image", reason="pictures need seedbed[vision]")
    refs: dict[str, bytes] = {}
    for name, ((width, height), of_mask) in values.items():
        refs[f"images/{name}.png"] = encoded(picture(random))
        array = random.choice(of_mask, (height, width)).astype(np.uint8)
        refs[f"masks/{name}.png"] = encoded(image.fromarray(array))
    frame = pd.DataFrame(
        {"image": [f"images/{n}.png" for n in values], "mask": [f"masks/{n}.png" for n in values]}
    )
    return DataSplit(frame, files(refs).files)


def test_masks_that_do_not_fit(masks: Callable[..., DataSplit]) -> None:
    good = {str(i): ((32, 24), [0, 1, 2]) for i in range(6)}
    train = masks({**good, "small": ((16, 12), [0, 1])})
    test = masks({"fine": ((32, 24), [0, 255]), "odd": ((32, 24), [0, 9])})
    found = by_kind(Dataset({"train": train, "test": test}, "image_masks", content="image"))
    assert set(grave(found)) == {"bad_masks", "unknown_mask_values"}
    assert "'masks/small.png' is 16 x 12 and its picture 32 x 24" in found["bad_masks"].message
    assert "'masks/odd.png' has 9" in found["unknown_mask_values"].message
    clean = {"train": masks(good), "test": masks({"fine": ((32, 24), [0, 255])})}
    assert grave(by_kind(Dataset(clean, "image_masks", content="image"))) == {}
    legend = pd.DataFrame({"name": ["x", "y"], "value": [0, 1]})
    known = Dataset(clean, "image_masks", content="image", tables={"legend": legend})
    assert "that the legend lacks" in by_kind(known)["unknown_mask_values"].message


# --- splits ----------------------------------------------------------------------------------


def test_test_rows_that_are_different() -> None:
    train, test = table(), table(1, 200)
    found = found_in(train, test.assign(b=test["b"] * 2 + 3, c="v"))
    assert "shift_in_test" in grave(found)
    message = found["shift_in_test"].message
    assert "column 'b' with the median" in message
    assert "column 'c' with the value 'v' in 100%" in message


def test_test_classes_that_are_more_frequent() -> None:
    train, test = table(), table(1, 400)
    found = found_in(train, test[(test["y"] == "yes") | (test.index % 4 == 0)])
    assert "the class" in grave(found)["target_shift_in_test"]
    values = train.assign(y=train["a"])
    assert "target_shift_in_test" in grave(found_in(values, values.assign(y=values["a"] + 1)))


def test_pictures_that_are_different() -> None:
    dark = {
        n: encoded(picture(np.random.default_rng(i), -60)) for i, n in enumerate(pictures(1, 30))
    }
    found = by_kind(folders(pictures(0), dark))
    assert "by itself: the red" in grave(found)["shift_in_test"]


def drifting() -> pd.DataFrame:
    train = table(rows=1000)
    times = pd.date_range("2024-01-01", periods=1000, freq="h")
    share = np.linspace(0.1, 0.9, 1000)
    y = np.where(np.random.default_rng(5).random(1000) < share, "yes", "no")
    return train.assign(when=times, y=y).sample(frac=1, random_state=0).reset_index(drop=True)


def test_time_that_a_random_split_ignores() -> None:
    data = drifting()
    found = found_in(data)
    assert list(grave(found)) == ["time_order_ignored"]
    assert found["time_order_ignored"].suggestion.endswith("time_column=when.")
    assert "time_order_ignored" in found_in(data.head(700), data.tail(300))
    newest = data["when"].rank() > 800
    assert "time_order_ignored" not in found_in(data[~newest], data[newest])
    assert "time_order_ignored" not in found_in(data, time_column="when")
    assert grave(found_in(table().assign(when=pd.date_range("2024-01-01", periods=ROWS)))) == {}


def grouped(column: str) -> pd.DataFrame:
    """Five rows for each of 200 patients, who have one class each."""
    random = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(200)], 5)
    y = np.repeat(random.choice(["yes", "no"], 200), 5)
    a = (y == "yes") + random.normal(size=1000)
    frame = pd.DataFrame({column: patients, "a": a, "b": random.normal(size=1000), "y": y})
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.mark.parametrize("column", ["patient_id", "subjectId", "whatever"])
def test_groups_that_a_split_tears(column: str) -> None:
    data = grouped(column)
    found = found_in(data)
    assert list(grave(found)) == ["groups_torn"]
    assert found["groups_torn"].suggestion.endswith(f"group_column={column}.")
    given = found_in(data.head(700), data.tail(300))
    assert "of the held-out rows are about one that training rows" in given["groups_torn"].message
    half = data[column].isin([f"p{i}" for i in range(100)])
    assert "groups_torn" not in found_in(data[half], data[~half])
    assert "groups_torn" not in found_in(data, group_column=column)


def test_rows_of_a_group_that_are_alike() -> None:
    data = grouped("patient_id")
    first = data.groupby("patient_id")[["a", "b"]].transform("first")
    noise = np.random.default_rng(1)
    alike = data.assign(
        a=first["a"], b=first["b"] + noise.normal(size=1000) * 0.1, y=noise.choice(["p", "q"], 1000)
    )
    assert "alike in 100% of the columns" in found_in(alike)["groups_torn"].message


def test_an_id_whose_rows_have_nothing_in_common() -> None:
    random = np.random.default_rng(0)
    assert grave(found_in(table().assign(store_id=random.integers(0, 60, ROWS)))) == {}
    assert (
        grave(found_in(table().assign(city=random.choice([f"c{i}" for i in range(90)], ROWS))))
        == {}
    )


def named(*names: str, test: bool = False, content: str = "image") -> Dataset:
    """Files that cannot be read, in class folders."""
    refs = DataSplit(files=tuple(FileRef(name, lambda: b"") for name in sorted(names)))
    return Dataset(
        {"train": refs, **({"test": refs} if test else {})}, "class_folders", content=content
    )


def test_files_that_are_numbered_in_groups() -> None:
    videos = [f"{c}/v{i}_{c}{j:03}.png" for c in "ab" for i in range(5) for j in range(6)]
    found = by_kind(named(*videos, "a/other.png", test=True))["file_groups_torn"]
    assert found.severity == "INFO"
    assert found.message.startswith(
        "the names of 60 of 61 training files are numbered in 5 groups: 'v0' (12 files), "
        "'v1' (12 files), 'v2' (12 files) and 2 more; a random split for valid puts"
    )
    assert found.message.endswith("98% of the test files are of such a group too")
    pattern = r"([^/]+?)[_\-. ][A-Za-z]*\d+\."
    assert f"group_pattern={pattern}," in found.suggestion
    guess = next(g for g in Shape.of(named(*videos), "").guesses() if g.what == "group_pattern")
    assert guess.value == pattern
    assert "file_groups_torn" not in by_kind(named(*videos), group_pattern=pattern)


@pytest.mark.parametrize(
    "names",
    [
        [f"{c}/{j:04}.png" for c in "abc" for j in range(20)],
        [f"{c}/IMG_{j:04}.png" for c in "abc" for j in range(20)],
        [f"{c}/{c}_{j:04}.png" for c in "abcd" for j in range(20)],
        [f"{c}/{c}.{p}{j}.png" for c in ("cat", "dog") for p in "xy" for j in range(20)],
        [f"a/{i * 7919 % 10007:04x}x{i}.png" for i in range(60)],
    ],
    ids=["numbers", "one group", "classes", "two of a class", "no two of a group"],
)
def test_names_that_tell_of_no_groups(names: list[str]) -> None:
    assert Shape.of(named(*names), "").name_groups is None


# --- limits ----------------------------------------------------------------------------------


def test_the_time_limit_is_kept_and_said() -> None:
    begun = time.monotonic()
    found = examine(folders(pictures(0)), seconds=0)
    assert time.monotonic() - begun < 5
    assert [finding.kind for finding in found] == ["not_examined"]
    assert "damaged files" in found[0].message


def test_the_same_findings_each_time() -> None:
    train, test = table(rows=6000), table(1, 2000)
    dataset = Dataset.from_frame(train, test.assign(b=test["b"] + 1))
    assert examine(dataset, "y") == examine(dataset, "y")


def test_columns_of_any_values_are_looked_at() -> None:
    train = table().assign(
        lists=[[1, 2]] * ROWS,
        mixed=[1, "x", 2.5] * (ROWS // 3),
        large=np.where(np.arange(ROWS) % 2, np.inf, 1e300),
        whole=pd.array([1, 2, None] * (ROWS // 3), dtype="Int64"),
        kinds=pd.Categorical(["p", "q"] * (ROWS // 2)),
        when=pd.date_range("2024-01-01", periods=ROWS, tz="Europe/Paris"),
    )
    test = train.head(200).assign(when=[["no", "date"]] * 200, y=[["list"]] * 200, a="words")
    for target in train.columns:
        assert "check_failed" not in found_in(train, test, target)


def test_a_check_that_fails_does_not_take_the_others_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(context: Any) -> None:
        raise ZeroDivisionError(context)

    monkeypatch.setattr(examination, "CHECKS", {"first": fail, **examination.CHECKS})
    found = found_in(table().assign(extra=7))
    assert set(found) == {"check_failed", "constant_column"}
    assert "first" in found["check_failed"].message


def test_several_targets_and_columns_of_a_sample() -> None:
    both = table().assign(z=lambda t: t["d"] % 2)
    assert grave(by_kind(Dataset.from_frame(both), "y,z")) == {}
    found = by_kind(BUILT_IN["digits"](), "target")
    assert "constant_column" in found
    assert PurePosixPath(found["constant_column"].subject).name.startswith("pixel")
