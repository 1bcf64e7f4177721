"""Each line of the list of bad input: refused with a code, a field and a text that helps, and
nothing half-done stays, and the server goes on serving."""

from __future__ import annotations

import io
import os
import random
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

import seedbed
from tests.conftest import RunningServer, eventually
from tests.e2e.conftest import SLOW, House, children, serve, write_noise

ErrorT = TypeVar("ErrorT", bound=seedbed.SeedbedError)

GOOD = "size,shape,y\n" + "".join(f"{i},{i % 7},{'yes' if i % 2 else 'no'}\n" for i in range(60))
SAMPLE = "sample://breast_cancer"


@contextmanager
def refused(
    house: House, kind: type[ErrorT], says: Sequence[str], field: str = ""
) -> Iterator[None]:
    """Expects the error of the block, with one violation (of `field`), the words in it, and
    nothing left of the attempt."""
    before = house.leftovers()
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    assert type(error) is kind
    assert [violation.field for violation in error.violations] == ([field] if field else [])
    for words in says:
        assert words in str(error)
    assert "Traceback" not in str(error)
    assert house.leftovers() == before


@pytest.fixture(autouse=True)
def still_serving(house: House) -> Iterator[None]:
    """After every test the server says that it is well, and works on nothing."""
    yield
    for job in house.client.jobs():
        if not job.state.ended:
            job.cancel()
    with grpc.insecure_channel(house.server.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def sample(house: House) -> seedbed.Dataset:
    return house.register(SAMPLE)


@pytest.fixture(scope="module")
def model(house: House, sample: seedbed.Dataset) -> seedbed.Model:
    return house.client.train("tabular", sample, budget="1trials").model()


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
    ],
    ids=["task", "option", "type of option", "metric", "fitting metric", "column", "name", "range"],
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
    import pandas as pd

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
    "wrong encoding": (
        "latin.csv",
        LATIN.encode("latin-1"),
        "job.dataset",
        ["latin.csv is not UTF-8", "byte 0xE8 at offset 9 (line 2)", "convert it to UTF-8"],
    ),
    "wide encoding": (
        "wide.csv",
        LATIN.encode("utf-16-le"),
        "job.dataset",
        ["wide.csv", "in UTF-8"],
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


def test_data_that_changed_or_vanished_before_the_job_ran(
    house: House, sample: seedbed.Dataset
) -> None:
    paths = [house.root / "will_change.csv", house.root / "will_vanish.csv"]
    for path in paths:
        path.write_text(GOOD)
    datasets = [house.register(f"file://{path}") for path in paths]
    before = house.leftovers()
    running = house.client.train("tabular", sample, budget="600s", search_space=SLOW, detach=True)
    queued = [
        house.client.train("tabular", dataset, target="y", budget="1trials", detach=True)
        for dataset in datasets
    ]
    paths[0].write_text(GOOD + "61,5,yes\n")
    paths[1].unlink()
    assert [job.refresh().state for job in queued] == [seedbed.JobState.QUEUED] * 2
    running.cancel()
    with pytest.raises(seedbed.JobFailed) as changed:
        queued[0].wait()
    with pytest.raises(seedbed.JobFailed) as vanished:
        queued[1].wait()
    assert (changed.value.code, changed.value.reason) == ("FAILED_PRECONDITION", "DATASET_CHANGED")
    assert f"changed since the job was created: {paths[0]}" in str(changed.value)
    assert "create the dataset again" in str(changed.value)
    assert (vanished.value.code, vanished.value.reason) == (
        "FAILED_PRECONDITION",
        "DATASET_VANISHED",
    )
    assert f"{paths[1]} does not exist; put it back" in str(vanished.value)
    with refused(house, seedbed.FailedPrecondition, ["is FAILED and has no model"]):
        queued[0].model()
    for job in (running, *queued):
        job.delete()
    assert eventually(lambda: house.leftovers() == before)


# Rows to predict


def row(model: seedbed.Model) -> dict[str, object]:
    return {column.name: 1.0 for column in model.info.inputs}


def test_a_row_that_misses_or_adds_columns(house: House, model: seedbed.Model) -> None:
    short = row(model)
    del short["mean radius"]
    says = ["missing", "null where unknown"]
    with refused(house, seedbed.InvalidArgument, says, 'examples[1].fields["mean radius"]'):
        model.predict([row(model), short])
    says = ["no such column; the model predicts from ", "mean radius"]
    with refused(house, seedbed.InvalidArgument, says, 'examples[0].fields["colour"]'):
        model.predict([row(model) | {"colour": "red"}])
    with refused(
        house, seedbed.InvalidArgument, ["'mean radius'", "takes a number", "'big'"], "examples[0]"
    ):
        model.predict([row(model) | {"mean radius": "big"}])
    assert len(model.predict([row(model), row(model) | {"mean radius": None}])) == 2


# What is not there, or still in use


def test_what_does_not_exist(house: House) -> None:
    for get, what in (
        (house.client.job, "job"),
        (house.client.model, "model"),
        (house.client.dataset, "dataset"),
    ):
        with refused(house, seedbed.NotFound, [f"there is no {what} 'nothing'"]):
            get("nothing")
    with refused(house, seedbed.NotFound, ["'tabula'", "tabular"]):
        house.client.task("tabula")
    with refused(house, seedbed.InvalidArgument, ["'No Name'", "projects/default/jobs/ID"], "name"):
        house.client.job("No Name")


def test_a_model_that_was_deleted(house: House, sample: seedbed.Dataset) -> None:
    model = house.client.train("tabular", sample, budget="1trials").model()
    model.predict([row(model)])
    model.delete()
    with refused(house, seedbed.NotFound, [f"there is no model {model.id!r}"]):
        model.predict([row(model)])
    with refused(house, seedbed.NotFound, [f"there is no model {model.id!r}"]):
        model.delete()
    assert model.id not in house.leftovers()["model folders"]


def test_what_is_in_use_stays(house: House) -> None:
    path = house.root / "used.csv"
    path.write_text(GOOD)
    dataset = house.register(f"file://{path}")
    job = house.client.train("tabular", dataset, target="y", budget="600s", detach=True)
    with refused(
        house,
        seedbed.FailedPrecondition,
        [f"job {job.id!r} is ", "cannot be deleted; cancel it or wait for its end"],
    ):
        job.delete()
    with refused(house, seedbed.FailedPrecondition, [f"dataset {dataset.id!r} is used by", job.id]):
        house.client.delete_dataset(dataset)
    job.cancel()
    job.delete()
    whole = house.client.create_dataset(dataset, test=dataset)
    with refused(
        house, seedbed.FailedPrecondition, [f"dataset {dataset.id!r} is used by", whole.id]
    ):
        house.client.delete_dataset(dataset)
    house.client.delete_dataset(whole)
    house.client.delete_dataset(dataset)


def test_a_second_server_on_the_data_directory(house: House) -> None:
    command = ["seedbed", "serve", "--address", "127.0.0.1:0", "--data-dir"]
    second = subprocess.run(
        [*command, str(house.server.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert second.returncode != 0
    assert second.stdout == ""
    assert f"the data directory {house.server.data_dir} is in use" in second.stderr
    assert f"process {house.server.process.pid} at {house.server.address}" in second.stderr
    assert "pass another --data-dir" in second.stderr


# A full disk


# A network of some megabytes, in one trial.
BIG = {"architecture": "mlp", "width": 256, "depth": 3, "epochs": 3, "batch_size": 256}


def own_disk(folder: Path, size: str) -> list[str]:
    """What to put before a command so that `folder` is a disk of its own for it, and for it alone.

    Skips where this machine does not allow that.
    """
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "$@"'
    prefix = ["unshare", "--mount", *user, "sh", "-c", mount, "sh"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {getattr(error, 'stderr', error)}")
    return prefix


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@contextmanager
def ballast(folder: Path, leave: int) -> Iterator[None]:
    """A file that takes all but `leave` bytes of the disk."""
    path = folder / "ballast"
    path.write_bytes(bytes(free_bytes(folder) - leave))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def test_a_full_disk_while_a_model_is_written(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with (
        serve(data_dir, prefix=own_disk(data_dir, "64m")) as server,
        seedbed.connect(server.address) as client,
    ):
        disk = Path(f"/proc/{server.process.pid}/root{data_dir}")

        def big() -> seedbed.Job:
            return client.train("tabular", SAMPLE, budget="1trials", search_space=BIG)

        def files() -> list[str]:
            return sorted(p.name for f in ("models", "cache/jobs") for p in (disk / f).glob("*"))

        size = big().model().info.size_bytes
        assert eventually(lambda: len(files()) == 1)
        before = files()
        # The best trial's file does not fit; then it does, and the model made of it does not.
        for leave, folder in ((size // 2, "cache/jobs"), (size * 3 // 2, "models")):
            with ballast(disk, leave), pytest.raises(seedbed.JobFailed) as caught:
                big()
            error = caught.value
            assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
            assert f"the disk is full: writing to {data_dir / folder}" in str(error)
            assert "bytes free; free some space and try again" in str(error)
            assert eventually(lambda: files() == before)
        assert [job.info.model for job in client.jobs("state = FAILED")] == ["", ""]
        assert [model.id for model in client.models()] == before
        with ballast(disk, 0):
            with pytest.raises(seedbed.ResourceExhausted, match="free some space and try again"):
                client.train("tabular", SAMPLE, budget="1trials", detach=True)
            assert len(client.jobs()) == 3
        assert big().state is seedbed.JobState.SUCCEEDED
        end_with_a_full_disk(server, client, disk, write_noise(tmp_path / "noise.csv"))


def end_with_a_full_disk(
    server: RunningServer, client: seedbed.Client, disk: Path, data: Path
) -> None:
    """A SIGTERM ends the server, though nothing can be written about the job at work."""
    job = client.train("tabular", data, budget="600s", search_space=SLOW, detach=True)
    next(e for e in job.watch() if isinstance(e.body, seedbed.EpochFinished))
    workers = children(server)
    with ballast(disk, 0):
        server.process.terminate()
        assert server.process.wait(15) == 0
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers))


# The end


def test_after_all_of_it_a_job_succeeds_and_nothing_is_left(house: House) -> None:
    before = house.leftovers()
    job = house.client.train("tabular", "sample://wine", budget="1trials")
    assert job.state is seedbed.JobState.SUCCEEDED
    model = job.model()
    assert len(model.predict([row(model)])) == 1
    after = house.leftovers()
    assert set(after["models"]) - set(before["models"]) == {model.id}
    assert after["model folders"] == after["models"]
    assert after["partial uploads"] == []
    assert eventually(lambda: house.leftovers()["scratch"] == [])
    unfinished = [job.id for job in house.client.jobs() if not job.state.ended]
    assert unfinished == []
    succeeded = {j.info.model for j in house.client.jobs("state = SUCCEEDED")}
    assert len(succeeded) >= 1
