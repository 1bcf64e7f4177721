"""Bad requests, data and rows: each refused with a code, a field and a text that helps, and
nothing half-done stays, and the server goes on serving."""

from __future__ import annotations

import io
import os
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import seedbed
from tests.e2e.conftest import GOOD, House, any_row, refused

pytestmark = pytest.mark.usefixtures("undisturbed")


def train(house: House, dataset: seedbed.Dataset, task: str = "tabular", **more: object) -> None:
    """Creates a job that is not expected to be accepted."""
    settings = {"budget": "1trials", "detach": True, **more}
    house.client.train(task, dataset, **settings)  # type: ignore[arg-type]


# What is asked for


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        ({"task": "tabula"}, "job.task", ["'tabula'", "did you mean 'tabular'"]),
        (
            {"options": {"test_fractoin": 0.1}},
            "job.options.test_fractoin",
            ["has no such option", "it has: ", "did you mean 'test_fraction'"],
        ),
        (
            {"options": {"test_fraction": "much"}},
            "job.options.test_fraction",
            ["got 'much'", "must be of type number"],
        ),
        (
            {"metric": "acuracy"},
            "job.metric",
            ["'acuracy'", "balanced_accuracy", "did you mean 'accuracy'"],
        ),
        (
            {"metric": "rmse"},
            "job.metric",
            ["'rmse' does not measure a target of type 'category'", "possible are accuracy"],
        ),
        (
            {"target": "tarjet"},
            "job.target",
            ["no column 'tarjet'", "did you mean 'target'", "'mean radius'"],
        ),
        (
            {"search_space": {"learning_rat": 0.1}},
            'job.search_space["learning_rat"]',
            ["has no such hyperparameter", "did you mean 'learning_rate'"],
        ),
        (
            {"search_space": {"learning_rate": 100.0}},
            'job.search_space["learning_rate"]',
            ["100", "0.0001"],
        ),
        (
            {"starting_points": [{"architecture": "tabm", "learning_rate": 100.0}]},
            "job.starting_points[0].learning_rate",
            ["must be a number in 0.0001..0.02, got 100"],
        ),
        (
            {"starting_points": [{"architecture": "linear", "epochs": 5}]},
            "job.starting_points[0].epochs",
            ["linear has no such hyperparameter; it has: regularization"],
        ),
        (
            {"starting_points": [{"learning_rate": 0.01}]},
            "job.starting_points[0].architecture",
            ["is required", "linear, kernel_ridge, lightgbm, tabm"],
        ),
        (
            {
                "starting_points": [{"architecture": "linear"}, {"architecture": "lightgbm"}],
                # The trees of LightGBM cannot be so few, so that it drops out.
                "search_space": {"epochs": 3},
            },
            "job.starting_points[1].architecture",
            ["'lightgbm' is none of those that this job may try: linear, kernel_ridge, tabm"],
        ),
    ],
    ids=[
        "task",
        "option",
        "type of option",
        "metric",
        "fitting metric",
        "column",
        "name",
        "range",
        "start outside",
        "start with another's",
        "start of nothing",
        "start that dropped out",
    ],
)
def test_unknown_words_are_answered_with_the_known_ones(
    house: House,
    sample: seedbed.Dataset,
    settings: dict[str, object],
    field: str,
    says: list[str],
) -> None:
    with refused(house, seedbed.InvalidArgument, says, field):
        train(house, sample, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("budget", "field", "says"),
    [
        (seedbed.Budget(trials=0), "trials", "must be at least 1, got 0"),
        (seedbed.Budget(trials=-3), "trials", "must be at least 1, got -3"),
        (seedbed.Budget(samples=0), "samples", "must be at least 1, got 0"),
        (seedbed.Budget(samples=-1), "samples", "must be at least 1, got -1"),
        (seedbed.Budget(seconds=0), "wall_clock", "must be at least 5 s, got 0 s"),
        (seedbed.Budget(seconds=-5), "wall_clock", "must be at least 5 s, got -5 s"),
        (
            seedbed.Budget(target_score=float("nan")),
            "target_score",
            "must be a finite number, got nan",
        ),
        (seedbed.Budget(), "", "give at least one of wall_clock, trials, samples and target_score"),
    ],
    ids=str,
)
def test_a_budget_of_nothing(
    house: House, sample: seedbed.Dataset, budget: seedbed.Budget, field: str, says: str
) -> None:
    path = f"job.budget.{field}" if field else "job.budget"
    with refused(house, seedbed.InvalidArgument, [says], path):
        train(house, sample, budget=budget)


def test_all_that_is_wrong_is_said_at_once(house: House, sample: seedbed.Dataset) -> None:
    before = house.leftovers()
    with pytest.raises(seedbed.InvalidArgument) as caught:
        train(house, sample, metric="x", options={"y": 1}, budget=seedbed.Budget(trials=0))
    assert {violation.field for violation in caught.value.violations} == {
        "job.metric",
        "job.options.y",
        "job.budget.trials",
    }
    assert house.leftovers() == before


# The data


def text_of(row: Callable[[int], str], header: str = "a,y") -> bytes:
    return "\n".join([header, *map(row, range(50)), ""]).encode()


def truncated_parquet() -> bytes:
    whole = io.BytesIO()
    pd.DataFrame({"a": range(500), "y": ["u", "v"] * 250}).to_parquet(whole)
    return whole.getvalue()[:-100]


LATIN = text_of(lambda i: f"{i},{'Zürich' if i % 2 else 'Genève'}").decode()

BAD_TABLES: dict[str, tuple[str, bytes, str, list[str]]] = {
    "one class": (
        "one.csv",
        text_of(lambda i: f"{i},yes"),
        "job.target",
        ["column 'y' has the single class 'yes' in all of 50 rows", "at least two classes"],
    ),
    "all missing": (
        "missing.csv",
        text_of(lambda i: f"{i},"),
        "job.target",
        ["column 'y' has no value in any of 50 rows", "name a column that is filled in"],
    ),
    "empty": ("empty.csv", b"", "job.dataset", ["empty.csv is empty"]),
    "no rows": ("header.csv", b"a,b,y\n", "job.dataset", ["header.csv", "no rows below it"]),
    "truncated": (
        "cut.parquet",
        truncated_parquet(),
        "job.dataset",
        ["cut.parquet cannot be read as Parquet", "is it complete?"],
    ),
    "garbage": (
        "garbage.csv",
        random.Random(1).randbytes(5000),
        "job.dataset",
        ["garbage.csv holds binary data", "save it as text in UTF-8"],
    ),
    "mixed encodings": (
        "mixed.csv",
        LATIN.encode() + LATIN.splitlines()[1].encode("latin-1") + b"\n",
        "job.dataset",
        ["mixed.csv is not UTF-8 throughout", "it mixes encodings", "save all of it as UTF-8"],
    ),
    "ragged": (
        "ragged.csv",
        (GOOD + "1,2\n").encode(),
        "job.dataset",
        ["ragged.csv has 2 fields in line 62 where the header has 3", "mend the row"],
    ),
    "duplicate names": (
        "twice.csv",
        text_of(lambda i: f"{i},{i},{i % 2}", "a,a,y"),
        "job.dataset",
        ["twice.csv has several columns named 'a'", "rename all but one"],
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_cannot_be_used(house: House, name: str) -> None:
    file_name, content, field, says = BAD_TABLES[name]
    path = house.root / file_name
    path.write_bytes(content)
    dataset = house.register(f"file://{path}")
    with refused(house, seedbed.InvalidArgument, says, field):
        train(house, dataset, target="y")
    house.client.delete_dataset(dataset)


def test_an_unreadable_file(house: House) -> None:
    path = house.root / "locked.csv"
    path.write_text(GOOD)
    path.chmod(0)
    allowed = int(
        Path(f"/proc/{house.server.process.pid}/status").read_text().split("CapEff:")[1][:17], 16
    )
    if allowed & 0b110:
        pytest.skip("the server runs as root, which may read every file, and setpriv is not here")
    says = ["locked.csv cannot be read by the server: permission denied", "change its mode"]
    with refused(house, seedbed.InvalidArgument, says, "dataset.sources[0].uri"):
        house.register(f"file://{path}")


def test_a_pipe_is_no_file_and_holds_nobody_up(house: House) -> None:
    os.mkfifo(house.root / "pipe.csv")
    says = ["pipe.csv is neither a file nor a folder"]
    with refused(house, seedbed.InvalidArgument, says, "dataset.sources[0].uri"):
        house.register(f"file://{house.root / 'pipe.csv'}")


def test_a_folder_without_files(house: House) -> None:
    folder = house.root / "folder.csv"
    folder.mkdir()
    dataset = house.register(f"file://{folder}")
    with refused(house, seedbed.InvalidArgument, ["folder.csv has no files in it"], "job.dataset"):
        train(house, dataset)
    house.client.delete_dataset(dataset)


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 0, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [(f"{'cat' if i % 2 else 'dog'}/{i}.png", picture(12 * i)) for i in range(20)]


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("../evil.png", ["'../evil.png'", "leads out of the archive"]),
        ("cat/../../evil.png", ["'cat/../../evil.png'", "leads out of the archive"]),
        ("/etc/evil.png", ["'/etc/evil.png'", "an absolute name"]),
        (link("cat/link.png"), ["'cat/link.png'", "a link", "put the file itself in its place"]),
    ],
    ids=["dots", "dots inside", "absolute", "link"],
)
def test_an_archive_that_reaches_out(
    house: House, member: str | zipfile.ZipInfo, says: list[str]
) -> None:
    path = write_zip(house.root / "evil.zip", *PICTURES, (member, b"/etc/passwd"))
    dataset = house.register(f"file://{path}")
    with refused(house, seedbed.InvalidArgument, ["evil.zip", *says], "job.dataset"):
        train(house, dataset, "image_classification")
    house.client.delete_dataset(dataset)
    assert not list(house.root.parent.rglob("evil.png"))


def test_an_archive_that_was_cut_off(house: House) -> None:
    path = write_zip(house.root / "cut.zip", *PICTURES)
    path.write_bytes(path.read_bytes()[:900])
    dataset = house.register(f"file://{path}")
    says = ["cut.zip is damaged, cut off or no zip archive", "make or copy it again"]
    with refused(house, seedbed.InvalidArgument, says, "job.dataset"):
        train(house, dataset, "image_classification")
    house.client.delete_dataset(dataset)


def test_pictures_that_are_text(house: House) -> None:
    path = write_zip(house.root / "text.zip", *((name, b"hello") for name, _ in PICTURES))
    dataset = house.register(f"file://{path}")
    says = ["none of 20", "cat/1.png: not a picture in a known format"]
    with refused(house, seedbed.InvalidArgument, says, "job.dataset"):
        train(house, dataset, "image_classification")
    house.client.delete_dataset(dataset)


def test_one_picture_that_is_text_is_left_out_and_named(house: House) -> None:
    path = write_zip(house.root / "mostly.zip", *PICTURES, ("cat/hello.png", b"I am text"))
    job = house.client.train(
        "image_classification",
        house.register(f"file://{path}"),
        budget="1trials",
        search_space={"architecture": "frozen_backbone"},
    )
    assert job.state is seedbed.JobState.SUCCEEDED
    (finding,) = (f for f in job.info.findings if f.kind == "unusable_items")
    assert finding.severity == "WARNING"
    assert "cat/hello.png: not a picture in a known format" in finding.message


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("/etc/passwd", ["/etc/passwd lies outside the folders", "--allow-root, or upload"]),
        ("file:///etc/passwd", ["/etc/passwd lies outside the folders", "--allow-root"]),
        ("{root}/../secret.csv", ["lies outside the folders", "--allow-root"]),
        ("{root}/door/passwd", ["door/passwd lies outside the folders", "--allow-root"]),
        ("{root}/nowhere.csv", ["nowhere.csv does not exist"]),
        ("gopher://host/x.csv", ["the scheme 'gopher'", "file, sample", "upload the data"]),
        ("http://169.254.169.254/latest", ["the scheme 'http'", "file, sample"]),
        ("relative.csv", ["'relative.csv' is a relative path", "give the absolute path"]),
        ("", ["is empty", "sample://NAME"]),
    ],
)
def test_a_uri_that_may_not_be_read(house: House, uri: str, says: list[str]) -> None:
    (house.root.parent / "secret.csv").write_text(GOOD)
    door = house.root / "door"
    if not door.is_symlink():
        door.symlink_to("/etc")
    with refused(house, seedbed.InvalidArgument, says, "dataset.sources[0].uri"):
        house.register(uri.format(root=house.root))


def test_a_sample_that_is_not_there(house: House) -> None:
    dataset = house.register("sample://brest_cancer")
    with refused(
        house, seedbed.InvalidArgument, ["'brest_cancer'", "breast_cancer"], "job.dataset"
    ):
        train(house, dataset)
    house.client.delete_dataset(dataset)


# Rows to predict


def test_a_row_that_misses_or_adds_columns(house: House, model: seedbed.Model) -> None:
    short = any_row(model)
    del short["mean radius"]
    says = ["missing", "null where unknown"]
    with refused(house, seedbed.InvalidArgument, says, 'examples[1].fields["mean radius"]'):
        model.predict([any_row(model), short])
    says = ["no such column; the model predicts from ", "mean radius"]
    with refused(house, seedbed.InvalidArgument, says, 'examples[0].fields["colour"]'):
        model.predict([any_row(model) | {"colour": "red"}])
    with refused(
        house, seedbed.InvalidArgument, ["'mean radius'", "takes a number", "'big'"], "examples[0]"
    ):
        model.predict([any_row(model) | {"mean radius": "big"}])
    assert len(model.predict([any_row(model), any_row(model) | {"mean radius": None}])) == 2
