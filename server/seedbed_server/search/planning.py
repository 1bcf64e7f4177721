"""What a job would do, measured before anything is searched. Runs in a call process."""

from __future__ import annotations

import operator
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from seedbed_sdk.datablock import PreparedData
from seedbed_sdk.registry import load
from seedbed_sdk.space import domain_from_dict
from seedbed_sdk.trainer import Blueprint, Data, Hardware, Trainer
from seedbed_server.data import reading, references
from seedbed_server.executors.processes import limit_threads
from seedbed_server.jobs.values import Budget, Constraints, Job, Winner
from seedbed_server.search.budget import Spending
from seedbed_server.search.check import Plan, make_plan
from seedbed_server.search.costs import Cost, Meter, raw_example
from seedbed_server.search.earlier import similar_jobs
from seedbed_server.search.examining import examine_once
from seedbed_server.search.first_trials import first_trials_of
from seedbed_server.search.limits import is_settled, standing
from seedbed_server.search.loop import trial_seed
from seedbed_server.search.preparing import prepare
from seedbed_server.search.probing import FEW_ITEMS, NOT_IN_TIME, TrialCost, probe, probe_on_parts
from seedbed_server.search.rehearsal import Rehearsal, Script, rehearse, scaled
from seedbed_server.search.similarity import describe
from seedbed_server.search.study import STARTUP_TRIALS, Proposal, Study
from seedbed_server.store import Dataset, PreparedStore

ALL_SECONDS = 20.0
# More than a message can hold is no plan.
LONGEST_SECONDS = 3e9
MOST_SAMPLES = 2**62
PROBE_SECONDS = 2.0
# Settings of each architecture that are measured beside those that are known to come.
DRAWN_EACH = 3
# For what is computed once of all items, such as features; what takes longer is tried on a few.
BEFORE_FIRST_EPOCH_SECONDS = 4.0
# What of a job is not measured here: the start of its process, the rows of a trial, the bundle.
START_SECONDS = 0.15
ROWS_SECONDS = 0.02
BUNDLE_SECONDS = 0.05


def plan_job(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Takes `job`, `dataset`, `sources`, `winners`, `policy`, `prepared` (a folder), `device` and
    `threads`; returns what the message JobPlan says, seconds as numbers. The prepared data is kept.

    Raises as `make_plan` and `resolve_unchanged` do.
    """
    began = time.monotonic()
    limit_threads(payload["threads"])
    registry = load()
    job, row = _job(payload["job"]), _dataset(payload["dataset"])
    policy = references.Policy.from_dict(payload["policy"], registry.readers)
    sources = [references.DataSource(**source) for source in payload["sources"]]
    hardware = Hardware(payload["device"], payload["threads"])
    resolved = references.resolve_unchanged(sources, policy, row.fingerprint, row.signature)
    found = reading.look(resolved, policy, samples=registry.samples, layout=row.layout)
    plan = make_plan(
        registry,
        found.dataset,
        task_name=job.task,
        target=job.target,
        options=job.options,
        metric_name=job.metric,
        search_space=job.search_space,
        hardware=hardware,
    )
    reading_seconds = time.monotonic() - began
    store = PreparedStore(Path(payload["prepared"]), policy.prepared_limit_bytes)
    examine_once(found.dataset, job, row, store)
    del found
    example = raw_example(plan.block)
    items = plan.block.items
    prepare(plan, job, row, sources, registry, store, policy.memory_limit_bytes)
    # As the job will find it.
    plan.block.items = items
    began = time.monotonic()
    prepared = prepare(plan, job, row, sources, registry, store, policy.memory_limit_bytes)
    winners = [Winner(**winner) for winner in payload["winners"]]
    features, target_type = describe(plan.block, prepared), plan.block.target.type
    earlier = similar_jobs(winners, job, target_type, features, plan.space, plan.metric)
    job = replace(job, earlier_jobs=earlier)
    preparing = START_SECONDS + reading_seconds + time.monotonic() - began
    try:
        meter = Meter(registry, example)
        return _Planning(job, plan, prepared, hardware, preparing, meter).answer()
    finally:
        store.close()


@dataclass
class _Planning:
    """The trials that would come first, what they cost, and what that adds up to."""

    job: Job
    plan: Plan
    prepared: PreparedData
    hardware: Hardware
    preparing: float
    meter: Meter

    def __post_init__(self) -> None:
        began = time.monotonic()
        self.first = self._first_trials()
        begun = self.job.budget.trials
        self.drawn = self._drawn() if begun is None or begun > len(self.first) else []
        asked = max(1, len(self.first) + len(self.drawn))
        self.asking = ROWS_SECONDS + (time.monotonic() - began) / asked
        self.costs: dict[int, TrialCost] = {}
        self._measure_all()

    def answer(self) -> dict[str, Any]:
        """The plan as plain data."""
        run = self._rehearsed()
        finishing = self._finishing()
        clock = self.job.budget.wall_clock_seconds
        seconds = None
        if run is not None:
            seconds = clock if run.ran_out_of_time else run.seconds + finishing
            seconds = None if seconds is None else min(seconds, LONGEST_SECONDS)
        known = [cost for cost in self.costs.values() if not cost.problem]
        return {
            "preparing": self.preparing,
            "finishing": finishing,
            "wall_clock": seconds,
            "trials": None if run is None else run.trials,
            "paused": None if run is None else run.paused,
            "samples": None if run is None else min(round(run.samples), MOST_SAMPLES),
            "memory_bytes": max((cost.memory_bytes for cost in known), default=0),
            "architectures": [
                self._architecture(name, run.of[name] if run else 0)
                for name in sorted(
                    self.plan.space.architectures,
                    key=lambda n: not self.plan.space.architectures[n].baseline,
                )
            ],
            "first_trials": [
                {
                    "architecture": proposal.architecture,
                    "parameters": proposal.parameters,
                    "seconds": seconds,
                    "origin": proposal.origin,
                    "origin_job": proposal.origin_job,
                }
                for proposal, seconds in (run.first if run else ())
            ],
        }

    def _first_trials(self) -> list[Proposal]:
        """What the study would propose, whatever comes of it."""
        first = first_trials_of(self.plan.space, self.job)
        self.study = Study(self.plan.space, self.plan.metric, self.job.seed, [], first)
        count = len(first) + STARTUP_TRIALS
        proposals: list[Proposal] = []
        while len(proposals) < min(count, self.job.budget.trials or count):
            proposal = self.study.ask(affordable=lambda _: True)
            if proposal is None:
                break
            proposals.append(proposal)
        return proposals

    def _drawn(self) -> list[Proposal]:
        """More settings of each architecture such as the sampler draws, by turns. They say what its
        trials take that are not known beforehand."""
        found: list[Proposal] = []
        for _ in range(DRAWN_EACH):
            for name in self.plan.space.architectures:
                proposal = self.study.ask(affordable=partial(operator.eq, name))
                found += [proposal] if proposal is not None else []
        return found

    def _measure_all(self) -> None:
        """Finds the cost of as many of the first trials as there is time for, each architecture's
        first one before its others."""
        seen: Counter[str] = Counter()
        turns = []
        for proposal in [*self.first, *self.drawn]:
            turns.append((seen[proposal.architecture], proposal.number, proposal))
            seen[proposal.architecture] += 1
        data = Data(self.prepared.train, self.prepared.valid, store=self.prepared.store)
        until = time.monotonic() + ALL_SECONDS
        turns.sort(key=lambda turn: turn[:2])
        for place, (turn, number, proposal) in enumerate(turns):
            left = until - time.monotonic()
            if left <= 0:
                break
            # The defaults matter most, and share the time among themselves.
            to_come = len(turns) - place if turn else len(seen) - place
            self.costs[number] = self._measure(proposal, data, left, to_come)

    def _measure(self, proposal: Proposal, data: Data, left: float, to_come: int) -> TrialCost:
        seed = trial_seed(self.job.seed, proposal.number)

        def serve(trainer: Trainer) -> Cost | None:
            if is_settled(self.job.constraints, self._known(proposal.architecture)):
                return None
            blueprint = Blueprint(self.plan.block, proposal.parameters, self.hardware, seed)
            with TemporaryDirectory(prefix="seedbed-plan-") as folder:
                return self.meter.measure_trainer(
                    Path(folder) / "bundle", trainer, proposal.architecture, blueprint
                )

        def measured(measure: Callable[..., TrialCost]) -> TrialCost:
            return measure(
                self.plan.space.architectures[proposal.architecture],
                proposal.parameters,
                self.plan.block,
                data,
                self.plan.metric,
                hardware=self.hardware,
                seed=seed,
                limit=min(PROBE_SECONDS, left / to_come),
                longest=min(BEFORE_FIRST_EPOCH_SECONDS, left),
                serve=serve,
            )

        cost = measured(probe)
        if cost.problem.startswith(NOT_IN_TIME) and len(data.train) > FEW_ITEMS[1]:
            return measured(probe_on_parts)
        return cost

    def _cost(self, proposal: Proposal) -> TrialCost | None:
        """What was measured, of these settings or else of others of the same architecture."""
        cost = self.costs.get(proposal.number)
        if cost is not None:
            return None if cost.problem else cost
        known = self._known(proposal.architecture)
        if not known:
            return None
        epochs = proposal.parameters.get("epochs")
        return scaled(known[0], epochs) if isinstance(epochs, int) else known[0]

    def _known(self, architecture: str) -> list[TrialCost]:
        return [
            cost
            for proposal in [*self.first, *self.drawn]
            if proposal.architecture == architecture
            and (cost := self.costs.get(proposal.number)) is not None
            and not cost.problem
        ]

    def _usual(self) -> dict[str, list[TrialCost]]:
        """What trials take, of the architectures that would be drawn from."""
        return {
            name: known
            for name in self.plan.space.architectures
            if not self._skipped(name) and (known := self._known(name))
        }

    def _leading(self, usual: Collection[str]) -> frozenset[str]:
        """The architectures that were ahead after a moment of training: the best, and what is equal
        to it."""
        better = self.plan.metric.better
        best: dict[str, float] = {}
        for name in usual:
            for cost in self._known(name):
                if name not in best or better(cost.score, best[name]):
                    best[name] = cost.score
        return frozenset(n for n in best if not any(better(o, best[n]) for o in best.values()))

    def _skipped(self, architecture: str) -> str:
        """Why an architecture would not be tried; empty where it would."""
        known = self._known(architecture)
        clock = self.job.budget.wall_clock_seconds
        if clock is None or not known:
            return ""
        left = clock - self.preparing - Spending(self.job.budget, 0.0).reserve()
        epoch = min(cost.epoch_seconds for cost in known)
        if epoch <= left:
            return ""
        return (
            f"one epoch takes about {epoch:.1f} s, and preparing and finishing leave "
            f"{max(0.0, left):.1f} s of the budget"
        )

    def _architecture(self, name: str, first_trials: int) -> dict[str, Any]:
        known = self._known(name)
        tried = [p for p in self.first if p.architecture == name and p.number in self.costs]
        problem = self._skipped(name)
        if not known and not problem:
            problem = self.costs[tried[0].number].problem if tried else ""
            if not tried and any(p.architecture == name for p in self.first):
                problem = f"there was no time to measure it within {ALL_SECONDS:.0f} s"
        default = known[0] if known else None
        met = standing(self.job.constraints, known, problem)
        return {
            "name": name,
            "baseline": self.plan.space.architectures[name].baseline,
            "epoch": default and default.epoch_seconds,
            "epochs": default.epochs if default else 0.0,
            "trial": default and default.seconds + sum(seconds for _, seconds in default.shared),
            "memory_bytes": default.memory_bytes if default else 0,
            "problem": problem,
            "first_trials": first_trials,
            "meets_constraints": met.meets,
            "latency": met.served and met.served.latency_seconds,
            "size_bytes": met.served and met.served.size_bytes,
            "constraints_reason": met.why,
        }

    def _rehearsed(self) -> Rehearsal | None:
        """The search as it would go; None where nothing is known of it, or nothing would end it."""
        usual, budget = self._usual(), self.job.budget
        if not usual or budget == Budget(target_score=budget.target_score):
            return None
        baselines = {a.name for a in self.plan.space.architectures.values() if a.baseline}
        queue = [p for p in self.first if not self._skipped(p.architecture)]
        serving = [c.serving_seconds for c in self.costs.values() if c.served is not None]
        return rehearse(
            Script(
                budget,
                [(proposal, self._cost(proposal)) for proposal in queue],
                usual,
                self._leading(usual),
                frozenset(baselines),
                asking=self.asking + (mean(serving) if serving else 0.0),
                preparing=self.preparing,
                most=self.plan.space.size(),
                startup=self.study.rungs.startup,
                seed=self.job.seed,
            )
        )

    def _finishing(self) -> float:
        """Scoring the test split, and training once more where the likely models do."""
        known = [cost for cost in self.costs.values() if not cost.problem]
        item = max((cost.item_seconds for cost in known), default=0.0)
        again = [
            cost.seconds
            for proposal in self.first
            if (cost := self.costs.get(proposal.number)) is not None
            and self.plan.space.architectures[proposal.architecture].refits
            and len(self.prepared.train)
            <= self.plan.space.architectures[proposal.architecture].refit_items
        ]
        return BUNDLE_SECONDS + item * len(self.prepared.test) + min(again, default=0.0)


def _job(fields: Mapping[str, Any]) -> Job:
    time_ = datetime.now(UTC)
    space = {key: domain_from_dict(domain) for key, domain in fields["search_space"].items()}
    return Job(
        **{
            **fields,
            "search_space": space,
            "budget": Budget(**fields["budget"]),
            "constraints": Constraints(**fields["constraints"]),
        },
        id="plan",
        dataset="",
        create_time=time_,
        update_time=time_,
    )


def _dataset(fields: Mapping[str, Any]) -> Dataset:
    sources = tuple(references.DataSource(**source) for source in fields["sources"])
    return Dataset(**{**fields, "sources": sources})
