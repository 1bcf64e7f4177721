"""What a search says about itself, while it runs and after."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import seedbed
from seedbed.cli import run
from tests.conftest import eventually
from tests.e2e.conftest import SAMPLE, SLOW, House, refused, serve, write_noise

pytestmark = pytest.mark.usefixtures("undisturbed")

SPACE: dict[str, object] = {"architecture": ["linear", "lightgbm"]}
# A first trial that is soon done, then one that takes long.
BUSY: dict[str, object] = {**SLOW, "architecture": ["linear", "tabm"]}


@pytest.fixture(scope="module")
def searched(house: House) -> seedbed.Job:
    """A search long enough to say something."""
    return house.client.train(
        "tabular", "sample://diabetes", budget="26trials", seed=2, search_space=SPACE
    )


def of(found: seedbed.JobInsights, architecture: str) -> seedbed.Importances:
    return next(each for each in found.importances if each.architecture == architecture)


def adds_up(found: seedbed.JobInsights) -> None:
    """The time that was spent is the time that was used, and the curve lies within it."""
    spent, used = found.time_spent, found.consumption
    parts = (spent.preparing, spent.training, spent.choosing, spent.finishing)
    assert all(part >= 0 for part in (*parts, spent.waiting))
    assert sum(parts) == pytest.approx(used.seconds, abs=1e-3)
    rises(found.learning_curve, found.higher_is_better)
    if found.learning_curve:
        last = found.learning_curve[-1]
        assert 0 < found.learning_curve[0].seconds <= last.seconds <= used.seconds
        assert last.trials <= used.trials
        assert last.samples <= used.samples


def rises(curve: Sequence[seedbed.LearningCurvePoint], higher: bool) -> None:
    """Each point is later and better than the one before."""
    sign = 1 if higher else -1
    for before, after in itertools.pairwise(curve):
        assert before.seconds < after.seconds
        assert before.trials < after.trials
        assert before.samples < after.samples
        assert sign * before.validation_score < sign * after.validation_score


def test_an_ended_search(searched: seedbed.Job) -> None:
    found = searched.insights()
    adds_up(found)
    assert (found.job, found.metric, found.higher_is_better) == (searched.name, "rmse", False)
    trials = searched.trials("number")
    scores = [trial.validation_score for trial in trials if trial.validation_score is not None]
    curve = found.learning_curve
    assert curve[0].validation_score == scores[0]
    assert len(curve) > 1
    for point in curve:
        assert trials[point.trial].validation_score == point.validation_score
        assert trials[point.trial].architecture == point.architecture
    bests = [e.body for e in searched.watch() if isinstance(e.body, seedbed.BestChanged)]
    assert [(b.seconds, b.trials, b.samples) for b in bests] == [
        (p.seconds, p.trials, p.samples) for p in curve
    ]
    # Up to what writing the rows of trials takes.
    trained = sum(trial.seconds for trial in trials)
    assert trained - 0.1 <= found.time_spent.training <= trained + 2.0

    shares = {each.architecture: each for each in found.importances}
    assert set(shares) == {"", "linear", "lightgbm"}
    assert 0 <= shares[""].shares["architecture"] <= 1
    assert shares[""].trials == len(scores)
    for name in ("linear", "lightgbm"):
        own = shares[name]
        assert own.trials == sum(trial.architecture == name for trial in trials)
        assert bool(own.shares) != bool(own.reason)
        assert not own.shares or sum(own.shares.values()) == pytest.approx(1.0)

    then = found.twice_the_budget
    assert then.best == min(scores)
    assert then.expected is not None and then.lower is not None and then.upper is not None
    assert 0 <= then.lower <= then.expected <= then.upper == then.best
    assert (then.trials, then.more_trials) == (len(scores), len(scores))
    assert then.improvement is not None and 0 < then.improvement < 1
    assert then.confidence == 0.8
    assert "exponential tail" in then.method


def test_the_same_is_said_again(searched: seedbed.Job) -> None:
    assert searched.insights() == searched.insights()


@pytest.mark.parametrize("columns", [80, 120])
def test_at_the_terminal(
    house: House,
    searched: seedbed.Job,
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    command = ["--server", house.server.address, "job", "insights", searched.id]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert all(len(line.rstrip()) <= columns for line in shown.splitlines())
    assert shown.startswith("best validation rmse so far\n")
    assert "╮" in shown and "╰" in shown
    for name in ("preparing", "training", "choosing", "finishing", "architecture"):
        assert re.search(rf"^{name}\s", shown, re.MULTILINE), name
    assert " ".join(shown.split()).count("Twice the budget, 26 more trials, would ") == 1
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["job"] == searched.id
    assert found["learning_curve"][-1]["architecture"] in ("linear", "lightgbm")


def test_a_search_that_is_too_short_says_so(
    house: House, sample: seedbed.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    job = house.client.train("tabular", sample, budget="2trials", seed=1, search_space=SPACE)
    found = job.insights()
    adds_up(found)
    assert len(found.learning_curve) >= 1
    assert of(found, "").reason == "2 trials have a score; at least 12 are needed" or (
        of(found, "").reason.startswith("only ")
    )
    assert found.twice_the_budget.expected is None
    assert found.twice_the_budget.reason == "2 trials have a score; at least 8 are needed"
    assert run(["--server", house.server.address, "job", "insights", job.id]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "cannot be said: 2 trials have a score; at least 8 are needed." in shown


def test_every_setting_tried_leaves_nothing_to_try(house: House, sample: seedbed.Dataset) -> None:
    space = {"architecture": "linear", "regularization": [0.1, 1.0, 20]}
    job = house.client.train("tabular", sample, budget="50trials", search_space=space)
    assert job.info.stop_reason == "SPACE_EXHAUSTED"
    then = job.insights().twice_the_budget
    assert then.more_trials == 0 and then.expected is None
    assert "all settings of the search space have been tried" in then.reason


def test_an_extended_search_goes_on_where_its_clock_was(house: House) -> None:
    job = house.client.train("tabular", SAMPLE, budget="2trials", seed=1, search_space=SPACE)
    before = job.insights()
    job.extend("8trials")
    after = job.insights()
    adds_up(after)
    count = len(before.learning_curve)
    assert after.learning_curve[:count] == before.learning_curve
    assert all(p.seconds > before.consumption.seconds for p in after.learning_curve[count:])
    assert after.consumption.trials == after.twice_the_budget.trials == 10
    assert after.time_spent.waiting > before.time_spent.waiting


def test_a_search_that_runs_or_waits_or_never_ran(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = house.register(f"file://{write_noise(house.root / 'noise_insights.csv')}")
    running, waiting = (
        house.client.train(
            "tabular", dataset, target="y", budget="600s", search_space=BUSY, detach=True
        )
        for _ in range(2)
    )
    assert eventually(lambda: bool(running.insights().learning_curve), 60)
    found = running.insights()
    adds_up(found)
    assert found.time_spent.finishing == 0.0 < found.time_spent.training
    later = running.insights()
    assert later.consumption.seconds > found.consumption.seconds
    assert later.time_spent.training > found.time_spent.training

    for state in ("QUEUED", "CANCELLED"):
        assert waiting.refresh().state == state
        found = waiting.insights()
        adds_up(found)
        assert (found.learning_curve, found.importances) == ((), ())
        assert found.consumption.seconds == 0.0 < found.time_spent.waiting
        assert found.twice_the_budget.best is None
        assert found.twice_the_budget.reason == "0 trials have a score; at least 8 are needed"
        waiting.cancel()
    assert run(["--server", house.server.address, "job", "insights", waiting.id]) == 0
    assert capsys.readouterr().out.startswith("no trial has a score yet\n")
    running.cancel()


@pytest.mark.slow
def test_the_clock_stands_still_while_no_server_runs(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    table = write_noise(tmp_path / "noise.csv")
    with serve(data_dir, "--allow-root", str(tmp_path)) as server:
        with seedbed.connect(server.address) as client:
            job = client.train(
                "tabular", table, target="y", budget="600s", search_space=BUSY, detach=True
            )
            assert eventually(lambda: bool(job.insights().learning_curve), 60)
            before = job.insights()
        server.kill()
    with (
        serve(data_dir, "--allow-root", str(tmp_path)) as server,
        seedbed.connect(server.address) as client,
    ):
        again = client.job(job.id)
        number = len(before.learning_curve)
        assert eventually(lambda: again.refresh().state is seedbed.JobState.SEARCHING, 60)
        after = again.insights()
        again.cancel()
        ended = again.insights()
        whole = again.refresh().info
    for found in (after, ended):
        adds_up(found)
        assert found.learning_curve[:number] == before.learning_curve
    assert whole.end_time is not None
    lived = (whole.end_time - whole.create_time).total_seconds()
    assert ended.consumption.seconds + ended.time_spent.waiting < lived


def test_what_has_no_insights_is_refused(house: House, sample: seedbed.Dataset) -> None:
    job = house.client.train("tabular", sample, budget="1trials", search_space=SPACE)
    replay = job.replay()
    says = [
        f"job {replay.id!r} trains the model of job {job.id!r} again",
        f"ask for job {job.id!r}",
    ]
    assert eventually(lambda: not house.leftovers()["scratch"])
    with refused(house, seedbed.FailedPrecondition, says):
        replay.insights()
    replay.delete()
    with refused(house, seedbed.NotFound, [f"there is no job {replay.id!r}"]):
        replay.insights()
