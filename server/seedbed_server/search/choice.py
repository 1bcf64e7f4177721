"""The choice of the model: a trial or an ensemble, as it is or trained once more, within the limits
on its cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import structlog

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.outputs import check_outputs
from seedbed_server.jobs.values import (
    Constraints,
)
from seedbed_server.search import scoring
from seedbed_server.search.budget import FINISHING_SECONDS
from seedbed_server.search.candidates import SELECTING_SECONDS
from seedbed_server.search.chosen import Chosen, Finishing, Part, about, write_bundle
from seedbed_server.search.constraints import not_met
from seedbed_server.search.costs import Cost
from seedbed_server.search.ensembling import finer_metric, select
from seedbed_server.search.faults import fault_of
from seedbed_server.search.loop import Search
from seedbed_server.search.published import Published
from seedbed_server.search.refit import is_too_long_after_a_stop, refit, repeats_of
from seedbed_server.store.files import full_disk_is_an_error

log = structlog.get_logger()

# What the scores of the test split may add to a bundle that was measured without them.
SIZE_MARGIN = 512


def choose(
    search: Search, means: Finishing, published: Published | None = None
) -> tuple[Chosen, Cost | None, Array] | None:
    """What is to be published, what it costs where that had to be measured, and its activated
    outputs on the test split. What fails there is passed over for the next best. None where
    `published` stays, which is compared on the validation split alone.

    Raises SeedbedError where there is nothing to publish.
    """
    failure = ""
    for chosen, cost in _choices(search, means, published):
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
    if published is not None:
        return None
    if failure:
        raise SeedbedError(
            f"no model can predict the test split; the last one: {failure}",
            reason="TEST_SPLIT_NOT_PREDICTED",
        )
    raise not_met(search)


def _choices(
    search: Search, means: Finishing, published: Published | None
) -> Iterator[tuple[Chosen, Cost | None]]:
    """What may be published, the best first, ending with the first that is not better than what
    was published before. After a worker has died nothing is risked: no ensemble, and nothing is
    trained once more."""
    constrained = search.job.constraints != Constraints()
    careful = search.session.job().deaths > 0
    for chosen in _possible(search, careful=careful):
        cost = _cost(search, means, chosen) if constrained else None
        if cost is not None and cost.share(search.job.constraints) > 1.0:
            continue
        if published is not None and not published.may_give_way_to(chosen):
            return
        again = None if careful else _refitted(search, chosen)
        if again is None and not chosen.of_one_trial and _would_refit(search, chosen):
            # The best alone, trained on all items, is likely to be better than what is not.
            continue
        if again is not None and (published is None or published.gives_way_to(again)):
            cost_again = _cost(search, means, again) if constrained else None
            if cost_again is None or cost_again.share(search.job.constraints) <= 1.0:
                yield again, cost_again
        if published is not None and not published.gives_way_to(chosen):
            return
        yield chosen, cost


def _possible(search: Search, *, careful: bool) -> Iterator[Chosen]:
    """The ensemble if it is the better, then the trials alone, the best first."""
    pool = search.pool
    if not careful and (ensemble := _ensemble(search)) is not None:
        yield ensemble
    for candidate in pool.all():
        yield Chosen((Part(candidate, pool.load(candidate)),), candidate.outputs)


def _ensemble(search: Search) -> Chosen | None:
    candidates = search.pool.all()
    if len(candidates) < 2:
        return None
    best, *others = candidates
    # What there is beyond training the best alone once more and scoring it.
    seconds = search.spending.seconds_to_end() - FINISHING_SECONDS
    seconds -= search.seconds_in_an_ensemble(best)
    selecting = min(seconds / 2, SELECTING_SECONDS)
    left = seconds - selecting
    within = [best]
    for candidate in others:
        if is_too_long_after_a_stop(search, candidate):
            continue
        if (takes := search.seconds_in_an_ensemble(candidate)) <= left:
            within.append(candidate)
            left -= takes
    found = select(
        search.metric,
        search.data.valid.target,
        [candidate.outputs for candidate in within],
        seed=search.job.seed,
        seconds=selecting,
        finer=finer_metric(search.block.target),
    )
    if found is None:
        return None
    parts = [
        Part(candidate, search.pool.load(candidate), weight)
        for candidate, weight in zip(within, found.weights, strict=False)
        if weight > 0.0
    ]
    return Chosen(tuple(parts), found.outputs)


def _would_refit(search: Search, chosen: Chosen) -> bool:
    return any(search.refits(part.candidate.trial) for part in chosen.parts)


def _refitted(search: Search, chosen: Chosen) -> Chosen | None:
    """The same with those of its parts trained once more that ask for it, a trial alone several
    times; None where none does, or where not all of those could be."""
    parts: list[Part] = []
    for part in chosen.parts:
        alone = chosen.of_one_trial
        repeats = repeats_of(search, part.candidate) if alone else 1
        try:
            # The members of an ensemble are those for which there is time.
            again = refit(search, part.candidate, repeats=repeats, in_time=not alone)
        except Exception as error:  # noqa: BLE001 - a plugin's model may raise anything
            reason = fault_of(error, search.hardware).reason
            search.session.log("WARNING", f"the model stays as it is; training it again: {reason}")
            again = None
        if again is None:
            if search.refits(part.candidate.trial):
                return None
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


def _cost(search: Search, means: Finishing, chosen: Chosen) -> Cost:
    """What the bundle would cost, with room for the scores of the test split."""
    assert search.meter is not None
    target = search.data.valid.target
    search.block.target.calibrate(target, chosen.outputs)
    score = scoring.score(search.metric, target, chosen.outputs, seed=search.job.seed)
    folder = search.folder / "measured"
    shutil.rmtree(folder, ignore_errors=True)
    with full_disk_is_an_error(search.folder):
        folder.mkdir(parents=True)
        write_bundle(folder, search, chosen, about(search, means, score, score))
    cost = search.meter.measure(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return replace(cost, size_bytes=cost.size_bytes + SIZE_MARGIN)
