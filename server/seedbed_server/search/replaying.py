"""Trains a model again by what was written down of its trial, and compares the weights."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from seedbed_sdk import bundle
from seedbed_sdk.ensemble import joined, weighted_mean
from seedbed_sdk.errors import FailedPrecondition
from seedbed_sdk.trainer import EpochReport, Trainer
from seedbed_server.jobs.values import EpochFinished, JobState, Progress, Replay, Trial
from seedbed_server.search.loop import Search
from seedbed_server.search.recipes import ReplayRun
from seedbed_server.search.refit import train_on_all
from seedbed_server.search.rerunning import Reruns, Stopped
from seedbed_server.store.files import full_disk_is_an_error


def replay_job(search: Search, replay: Replay, trials: Sequence[Trial]) -> None:
    """Works on a job that trains a model again, to its end. `trials` are those of the job that
    found the model.

    Raises SeedbedError where the trial cannot be run again.
    """
    session = search.session
    session.set_state(JobState.SEARCHING)
    members = _members_of(replay, trials)
    different = list({trial.number: trial for trial in members}.values())
    if (there := _place(replay)) != (here := _hardware(search)):
        session.log("WARNING", f"the model was trained on {there}, this is {here}; it may differ")
    reruns = Reruns(search, trials)
    trained: dict[int, tuple[Trainer, ReplayRun]] = {}
    try:
        for trial in different:
            share = len(trained) / len(different), 1 / len(different)
            trained[trial.number] = _member_again(search, trial, reruns, share)
    except Stopped:
        session.cancel()
        return
    session.set_state(JobState.FINISHING)
    trainers = [trained[trial.number][0] for trial in members]
    # Models of earlier versions had one of each.
    repeats = replay.recipe.get("repeats", [0] * len(members))
    refits = zip(members, replay.recipe["refit"], repeats, strict=True)
    for place, (trial, parameters, repeat) in enumerate(refits):
        if parameters is not None:
            trainers[place] = train_on_all(search, trial, dict(parameters), repeat=repeat)
    whole, weights = trainers[0], replay.recipe["weights"]
    if len(members) > 1:
        whole = joined(trainers, weights)
    score = trained[members[0].number][1].best_score
    if len(different) > 1:
        runs = [trained[trial.number][1] for trial in members]
        outputs = [run.best_outputs for run in runs if run.best_outputs is not None]
        score = search.metric.compute(search.data.valid.target, weighted_mean(outputs, weights))
    digest = _digest(whole, search.folder / "replay")
    session.succeed_with_replay(replace(replay, digest=digest, score=score))


def _member_again(
    search: Search, trial: Trial, reruns: Reruns, share: tuple[float, float]
) -> tuple[Trainer, ReplayRun]:
    """Runs one trial again and writes it down. `share` of the whole work was done before, and is
    this one. Raises as `Reruns.run`."""
    session = search.session
    session.start_trial(replace(trial, start_time=None, epoch_scores=(), epochs=0.0, samples=0))

    def watch(report: EpochReport, score: float) -> None:
        session.report_epochs([_finished(trial, report, score)])
        fraction = min(1.0, report.epoch / max(report.epoch, trial.epochs))
        message = f"training trial {trial.number} ({trial.architecture}) again"
        session.set_progress(Progress(share[0] + share[1] * fraction, message=message))

    began = time.monotonic()
    trainer, run = reruns.run(trial, watch)
    seconds = time.monotonic() - began
    search.spending.samples += trial.samples
    session.finish_trial(
        replace(
            trial,
            validation_score=run.best_score,
            epoch_scores=tuple(run.scores),
            seconds=seconds,
            start_time=None,
            end_time=None,
        ),
        samples_total=search.spending.samples,
    )
    return trainer, run


def restore(search: Search, trial: Trial, trials: Sequence[Trial]) -> None:
    """Puts the trainer of an extended job's best trial where the search looks for it; by training
    it again where the files that were kept have gone."""
    folder = search.folder / f"trial-{trial.number}"
    if folder.is_dir() or not trial.recipe or trial.architecture not in search.space.architectures:
        return
    with suppress(Stopped):
        trainer, _ = Reruns(search, trials).run(trial)
        _write(trainer, folder)


def _members_of(replay: Replay, trials: Sequence[Trial]) -> list[Trial]:
    members = replay.recipe["members"]
    found = {trial.number: trial for trial in trials if trial.number in members}
    if len(found) != len(set(members)):
        raise FailedPrecondition(
            f"model {replay.model!r} was made of the trials {sorted(set(members))}, of which "
            f"{len(found)} are there; it cannot be trained again",
            reason="NO_RECIPE",
        )
    return [found[number] for number in members]


def _place(replay: Replay) -> str:
    return f"{replay.recipe['device']} with {replay.recipe['threads']} threads"


def _hardware(search: Search) -> str:
    return f"{search.hardware.device} with {search.hardware.threads} threads"


def _finished(trial: Trial, report: EpochReport, score: float) -> EpochFinished:
    return EpochFinished(
        trial=trial.number,
        epoch=report.epoch,
        epochs=report.epochs,
        validation_score=score,
        samples=report.samples,
        train_loss=report.train_loss,
    )


def _digest(trainer: Trainer, folder: Path) -> str:
    _write(trainer, folder)
    return bundle.digest_of(folder)


def _write(trainer: Trainer, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with full_disk_is_an_error(folder.parents[1]):
        folder.mkdir(parents=True)
        trainer.save(folder)
