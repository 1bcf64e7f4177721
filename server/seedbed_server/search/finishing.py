"""From the trials of a search to the published model: one of them, or several together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from seedbed_sdk import bundle
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import PreparedData
from seedbed_sdk.ensemble import ENSEMBLE, EnsembleTrainer, weighted_mean
from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.outputs import check_outputs
from seedbed_sdk.registry import Registry
from seedbed_sdk.space import Parameters
from seedbed_sdk.trainer import Trainer
from seedbed_server.jobs.extending import CONSTRAINTS_NOT_MET, NO_TRIAL_SUCCEEDED
from seedbed_server.jobs.values import (
    Constraints,
    Finding,
    InputField,
    Model,
    Score,
    StopReason,
    Winner,
)
from seedbed_server.search import scoring
from seedbed_server.search.budget import FINISHING_SECONDS, SCORING_MARGIN
from seedbed_server.search.candidates import LOADING_SECONDS, Candidate
from seedbed_server.search.check import Plan
from seedbed_server.search.costs import Cost, milliseconds
from seedbed_server.search.ensembling import select
from seedbed_server.search.faults import fault_of
from seedbed_server.search.loop import Search
from seedbed_server.search.refit import refit, repeats_of, seed_of
from seedbed_server.store import Files
from seedbed_server.store.files import full_disk_is_an_error

log = structlog.get_logger()

# What the scores of the test split may add to a bundle that was measured without them.
SIZE_MARGIN = 512


@dataclass(frozen=True)
class Finishing:
    """What it takes beside the search itself. `findings` are those of the data, `features` what it
    is like, as `search.similarity` describes it."""

    plan: Plan
    prepared: PreparedData
    findings: Sequence[Finding]
    files: Files
    registry: Registry
    features: Mapping[str, float]


@dataclass(frozen=True)
class _Part:
    """A trial in the model. `refitted` are the hyperparameters of training once more, if it was;
    `repeat` says which of several such models this one is."""

    candidate: Candidate
    trainer: Trainer
    weight: float = 1.0
    refitted: Parameters | None = None
    repeat: int = 0

    @property
    def parameters(self) -> Parameters:
        """What the trainer is built from."""
        return self.refitted or dict(self.candidate.trial.parameters)


@dataclass(frozen=True)
class _Chosen:
    """What may be published; `outputs` are on the validation split. The first part is the best
    trial, or the one that is published in its place."""

    parts: tuple[_Part, ...]
    outputs: Array

    @property
    def of_one_trial(self) -> bool:
        """Whether all parts are models of the same trial."""
        return len({part.candidate.trial.number for part in self.parts}) == 1

    @property
    def trainer(self) -> Trainer:
        """That of the only part, or of all together."""
        if len(self.parts) == 1:
            return self.parts[0].trainer
        return EnsembleTrainer([p.trainer for p in self.parts], [p.weight for p in self.parts])

    @property
    def architecture(self) -> str:
        """That of the only trial, or `ensemble`."""
        return self.parts[0].candidate.trial.architecture if self.of_one_trial else ENSEMBLE

    def described(self) -> Parameters:
        """The hyperparameters, or what the members are."""
        if self.of_one_trial:
            return self.parts[0].parameters
        members = [
            {
                "trial": part.candidate.trial.number,
                "architecture": part.candidate.trial.architecture,
                "weight": part.weight,
                "parameters": part.parameters,
            }
            for part in self.parts
        ]
        return {"members": members}


def finish(search: Search, means: Finishing, stop_reason: StopReason) -> None:
    """Chooses, scores what was chosen on the test split, once, and publishes it.

    Raises SeedbedError where nothing meets the constraints, or nothing can predict the test split.
    """
    job, metric, block = search.job, means.plan.metric, means.plan.block
    chosen, cost, predicted = _choose(search, means)
    if len(chosen.parts) > 1 and chosen.of_one_trial:
        search.session.log(
            "INFO",
            f"trial {chosen.parts[0].candidate.trial.number} was trained on training and "
            f"validation items together with {len(chosen.parts)} seeds; the models answer with "
            "their mean",
        )
    target = block.target
    # Of what was tried and not chosen, something may have been learned.
    target.calibrate(search.data.valid.target, chosen.outputs)
    if found := _passed_over(search, chosen):
        search.session.set_findings([*means.findings, *found])
    validation = scoring.score(metric, search.data.valid.target, chosen.outputs, seed=job.seed)
    outputs = target.calibrated(predicted)
    truth = means.prepared.test.target
    test = scoring.score(metric, truth, outputs, seed=job.seed)
    measured = scoring.score_all(means.registry.metrics_of(target), target, test, truth, outputs)
    with means.files.new_model_folder(job.id) as folder:
        _write(folder.path, search, chosen, _about(search, means, validation, test))
        digest = bundle.digest_of(folder.path / bundle.TRAINER)
        if cost is None:
            assert search.meter is not None
            cost = search.meter.measure(folder.path)
        name, size = folder.publish()
    model = Model(
        id=name,
        project=job.project,
        task=job.task,
        job=job.id,
        trial=chosen.parts[0].candidate.trial.number,
        architecture=chosen.architecture,
        parameters=chosen.described(),
        inputs=tuple(InputField(f.name, f.type) for f in block.fields()),
        folder=name,
        create_time=datetime.now(UTC),
        display_name=job.display_name,
        target=target.column,
        classes=target.labels,
        validation_score=validation,
        test_score=test,
        test_scores=tuple(measured),
        dataset_fingerprint=job.dataset_fingerprint,
        size_bytes=size,
        digest=digest,
        recipe=_recipe(search, chosen),
        latency_seconds=cost.latency_seconds,
    )
    # In case the job is extended: what is published may be trained on the validation items too.
    means.files.put_by(job.id, search.pool.entries())
    try:
        winner = _winner(search, means, chosen)
        search.session.succeed(model, stop_reason, validation, test, winner)
    except BaseException:
        means.files.delete_model(name)
        raise


def end_without_model(search: Search, reason: StopReason) -> None:
    """A job that was stopped before a trial had finished is cancelled; one whose budget was used
    up by failures, or whose trials do not meet its constraints, fails: raises SeedbedError."""
    if search.pool.closest is not None:
        raise _not_met(search)
    if reason is StopReason.USER:
        search.session.cancel()
        return
    why = search.last_failure or "no trial could finish within the budget"
    ended, would = "the budget was used up", "to faster architectures"
    if reason is StopReason.SPACE_EXHAUSTED:
        ended, would = "nothing is left to try", "to architectures that do not fail"
    raise SeedbedError(
        f"{ended} and no trial succeeded; the last one: {why}; "
        f"give a larger budget, or narrow the search space {would}",
        reason=NO_TRIAL_SUCCEEDED,
    )


def _choose(search: Search, means: Finishing) -> tuple[_Chosen, Cost | None, Array]:
    """What is to be published, what it costs where that had to be measured, and its activated
    outputs on the test split. What fails there is passed over for the next best."""
    failure = ""
    for chosen, cost in _choices(search, means):
        test = means.prepared.test
        try:
            outputs = chosen.trainer.predict(test.inputs)
            check_outputs(means.plan.block.target, outputs, len(test))
        except Exception as error:  # a plugin's model may raise anything
            log.exception("test_split_not_predicted", job=search.job.id)
            failure = f"{chosen.architecture}: {fault_of(error, search.hardware).reason}"
            search.session.log(
                "WARNING", f"the test split cannot be predicted, so the next best counts; {failure}"
            )
        else:
            return chosen, cost, outputs
    if failure:
        raise SeedbedError(
            f"no model can predict the test split; the last one: {failure}",
            reason="TEST_SPLIT_NOT_PREDICTED",
        )
    raise _not_met(search)


def _choices(search: Search, means: Finishing) -> Iterator[tuple[_Chosen, Cost | None]]:
    """What may be published, the best first. After a worker has died nothing is risked: no
    ensemble, and nothing is trained once more."""
    constrained = search.job.constraints != Constraints()
    careful = search.session.job().deaths > 0
    for chosen in _possible(search, careful=careful):
        cost = _cost(search, means, chosen) if constrained else None
        if cost is not None and cost.share(search.job.constraints) > 1.0:
            continue
        again = None if careful else _refitted(search, chosen)
        if again is not None:
            cost_again = _cost(search, means, again) if constrained else None
            if cost_again is None or cost_again.share(search.job.constraints) <= 1.0:
                yield again, cost_again
        yield chosen, cost


def _possible(search: Search, *, careful: bool) -> Iterator[_Chosen]:
    """The ensemble if it is the better, then the trials alone, the best first."""
    pool = search.pool
    if not careful and (ensemble := _ensemble(search)) is not None:
        yield ensemble
    for candidate in pool.all():
        yield _Chosen((_Part(candidate, pool.load(candidate)),), candidate.outputs)


def _ensemble(search: Search) -> _Chosen | None:
    candidates = search.pool.all()
    if len(candidates) < 2:
        return None
    items = SCORING_MARGIN * search.spending.test_items
    # What there is beyond scoring the best alone.
    seconds = (
        search.spending.seconds_to_end() - FINISHING_SECONDS - items * candidates[0].item_seconds
    )
    left = seconds / 2
    within = 1
    for candidate in candidates[1:]:
        left -= items * candidate.item_seconds + LOADING_SECONDS
        if left < 0:
            break
        within += 1
    candidates = candidates[:within]
    found = select(
        search.metric,
        search.data.valid.target,
        [candidate.outputs for candidate in candidates],
        seed=search.job.seed,
        seconds=seconds / 2,
    )
    if found is None:
        return None
    parts = [
        _Part(candidate, search.pool.load(candidate), weight)
        for candidate, weight in zip(candidates, found.weights, strict=False)
        if weight > 0.0
    ]
    return _Chosen(tuple(parts), found.outputs)


def _refitted(search: Search, chosen: _Chosen) -> _Chosen | None:
    """The same with those of its parts trained once more that ask for it, a trial alone several
    times; None where none does."""
    parts: list[_Part] = []
    for part in chosen.parts:
        repeats = repeats_of(search, part.candidate) if chosen.of_one_trial else 1
        try:
            again = refit(search, part.candidate, repeats=repeats)
        except Exception as error:  # noqa: BLE001 - a plugin's model may raise anything
            reason = fault_of(error, search.hardware).reason
            search.session.log("WARNING", f"the model stays as it is; training it again: {reason}")
            again = None
        if again is None:
            parts.append(part)
            continue
        weight = part.weight / len(again.trainers)
        parts += [
            replace(part, trainer=trainer, weight=weight, refitted=again.parameters, repeat=repeat)
            for repeat, trainer in enumerate(again.trainers)
        ]
    if all(part.refitted is None for part in parts):
        return None
    return replace(chosen, parts=tuple(parts))


def _cost(search: Search, means: Finishing, chosen: _Chosen) -> Cost:
    """What the bundle would cost, with room for the scores of the test split."""
    assert search.meter is not None
    target = search.data.valid.target
    search.block.target.calibrate(target, chosen.outputs)
    score = scoring.score(search.metric, target, chosen.outputs, seed=search.job.seed)
    folder = search.folder / "measured"
    shutil.rmtree(folder, ignore_errors=True)
    with full_disk_is_an_error(search.folder):
        folder.mkdir(parents=True)
        _write(folder, search, chosen, _about(search, means, score, score))
    cost = search.meter.measure(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return replace(cost, size_bytes=cost.size_bytes + SIZE_MARGIN)


def _write(folder: Path, search: Search, chosen: _Chosen, about: Mapping[str, Any]) -> None:
    members = [
        bundle.Member(
            part.candidate.trial.architecture,
            part.parameters,
            seed_of(search, part.candidate.trial, part.repeat),
            part.weight,
        )
        for part in chosen.parts
    ]
    bundle.write(
        folder,
        block=search.block,
        trainer=chosen.trainer,
        architecture=chosen.architecture,
        parameters=chosen.described(),
        seed=members[0].seed,
        about=about,
        members=members if len(members) > 1 else (),
    )


def _winner(search: Search, means: Finishing, chosen: _Chosen) -> Winner:
    """The settings with the best validation score, also where a simpler model was published since
    the difference may be chance: a baseline is tried by every job anyway."""
    job, best = search.job, chosen.parts[0].candidate
    for candidate in search.pool.all():
        if search.metric.better(candidate.score, best.score):
            best = candidate
    return Winner(
        job=job.id,
        project=job.project,
        task=job.task,
        target=job.target,
        target_type=search.block.target.type,
        metric=search.metric.name,
        architecture=best.trial.architecture,
        parameters=best.trial.parameters,
        score=best.score,
        features=means.features,
        dataset_fingerprint=job.dataset_fingerprint,
        create_time=datetime.now(UTC),
    )


def _about(search: Search, means: Finishing, validation: Score, test: Score) -> Mapping[str, Any]:
    task = means.plan.task.name
    package = means.registry.packages[task]
    return {
        "seedbed": version("seedbed"),
        "task": task,
        "package": package.name,
        "package_version": package.version,
        "job": search.job.id,
        "dataset_fingerprint": search.job.dataset_fingerprint,
        "validation_score": asdict(validation),
        "test_score": asdict(test),
    }


def _recipe(search: Search, chosen: _Chosen) -> Mapping[str, Any]:
    """What `search.replaying` needs to make the model again."""
    weights = [part.weight for part in chosen.parts]
    score = chosen.parts[0].candidate.score
    if not chosen.of_one_trial:
        outputs = weighted_mean([part.candidate.outputs for part in chosen.parts], weights)
        score = search.metric.compute(search.data.valid.target, outputs)
    return {
        "members": [part.candidate.trial.number for part in chosen.parts],
        "weights": weights,
        "refit": [part.refitted for part in chosen.parts],
        "repeats": [part.repeat for part in chosen.parts],
        "score": score,
        "device": search.hardware.device,
        "threads": search.hardware.threads,
    }


def _passed_over(search: Search, chosen: _Chosen) -> list[Finding]:
    """Why the model is not the one at the top of the leaderboard."""
    other, best = search.pool.passed_over, chosen.parts[0].candidate.trial
    if other is None or not best.baseline or not chosen.of_one_trial:
        return []
    assert other.validation_score is not None and best.validation_score is not None
    return [
        Finding(
            "INFO",
            "baseline_kept",
            f"trial {other.number} ({other.architecture}) has the better {search.metric.name}, "
            f"{other.validation_score:.4g} against {best.validation_score:.4g}, but that is "
            f"no more than chance on {len(search.data.valid)} validation items, so the simpler "
            f"model {best.architecture} was kept",
            best.architecture,
            "Give more data to tell them apart.",
        )
    ]


def _not_met(search: Search) -> SeedbedError:
    closest = search.pool.closest
    if closest is None:
        # A model that is close to its limits was within them when it was first measured.
        said = "the best trials met them only just, and no longer when they were measured again"
        would = "allow a little more"
    else:
        said = (
            f"trial {closest.trial} ({closest.architecture}) came closest, with "
            f"{closest.cost.text()}"
        )
        would = f"allow {' and '.join(_needed(search.job.constraints, closest.cost))}"
    return SeedbedError(
        f"no trial meets the constraints, {_limits(search.job.constraints)}: {said}; {would}, give "
        "a larger budget, or narrow the search space to smaller architectures",
        reason=CONSTRAINTS_NOT_MET,
    )


def _limits(constraints: Constraints) -> str:
    found = []
    if constraints.max_latency_seconds is not None:
        found.append(f"at most {constraints.max_latency_seconds * 1e3:.3g} ms for one example")
    if constraints.max_size_bytes is not None:
        found.append(f"at most {constraints.max_size_bytes:,} bytes")
    return " and ".join(found)


def _needed(constraints: Constraints, cost: Cost) -> list[str]:
    """What would have to be allowed for this one."""
    found = []
    limit, size = constraints.max_latency_seconds, constraints.max_size_bytes
    if limit is not None and cost.latency_seconds is None:
        found.append("any latency, since none can be measured for this data")
    elif limit is not None and cost.latency_seconds is not None and cost.latency_seconds > limit:
        found.append(f"a latency of {milliseconds(cost)}")
    if size is not None and cost.size_bytes > size:
        found.append(f"a size of {cost.size_bytes:,} bytes")
    return found
