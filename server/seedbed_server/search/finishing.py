"""From the trials of a search to the published model: one of them, or several together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from seedbed_sdk import bundle
from seedbed_sdk.ensemble import weighted_mean
from seedbed_sdk.errors import SeedbedError
from seedbed_server.jobs.extending import NO_TRIAL_SUCCEEDED
from seedbed_server.jobs.values import (
    Finding,
    InputField,
    Model,
    StopReason,
    Winner,
)
from seedbed_server.search import scoring
from seedbed_server.search.choice import choose
from seedbed_server.search.chosen import Chosen, Finishing, about, write_bundle
from seedbed_server.search.constraints import not_met
from seedbed_server.search.loop import Search
from seedbed_server.search.published import Published


def finish(
    search: Search, means: Finishing, stop_reason: StopReason, before: Model | None = None
) -> None:
    """Chooses, scores what was chosen on the test split, once, and publishes it. Where the model
    that was published `before` is no worse, it stays, and the test split is not looked at.

    Raises SeedbedError where nothing meets the constraints, or nothing can predict the test split.
    """
    job, metric, block = search.job, means.plan.metric, means.plan.block
    valid = search.data.valid.target
    published = None if before is None else Published(before, metric, valid)
    choice = choose(search, means, published)
    if choice is None:
        assert before is not None
        keep(search, means, stop_reason, before)
        return
    chosen, cost, predicted = choice
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
        write_bundle(folder.path, search, chosen, about(search, means, validation, test))
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
    try:
        search.session.require_lease()
        # In case the job is extended: what is published may be trained on validation items too.
        means.files.put_by(job.id, search.pool.entries())
        winner = _winner(search, means, chosen)
        search.session.succeed(model, stop_reason, validation, test, winner)
    except BaseException:
        means.files.delete_model(name)
        raise


def keep(search: Search, means: Finishing, stop_reason: StopReason, before: Model) -> None:
    """Ends a job that was extended and has nothing better than the model it had published."""
    means.files.put_by(search.job.id, search.pool.entries())
    # Such as why the earlier search had kept a baseline.
    said = [finding for finding in search.job.findings if finding not in means.findings]
    search.session.set_findings([*means.findings, *said])
    search.session.succeed_with_earlier_model(stop_reason, before)


def end_without_model(search: Search, reason: StopReason) -> None:
    """A job that was stopped before a trial had finished is cancelled; one whose budget was used
    up by failures, or whose trials do not meet its constraints, fails: raises SeedbedError."""
    if search.pool.closest is not None:
        raise not_met(search)
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


def _winner(search: Search, means: Finishing, chosen: Chosen) -> Winner:
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


def _recipe(search: Search, chosen: Chosen) -> Mapping[str, Any]:
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


def _passed_over(search: Search, chosen: Chosen) -> list[Finding]:
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
