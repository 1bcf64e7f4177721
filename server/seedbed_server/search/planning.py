"""What a job would do, measured before anything is searched. Runs in a call process."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from seedbed_sdk.datablock import PreparedData
from seedbed_sdk.registry import load
from seedbed_sdk.space import domain_from_dict
from seedbed_sdk.trainer import Data, Hardware
from seedbed_server.data import reading, references
from seedbed_server.executors.processes import limit_threads
from seedbed_server.jobs.values import Budget, Job, Winner
from seedbed_server.search.budget import Spending
from seedbed_server.search.check import Plan, make_plan
from seedbed_server.search.earlier import similar_jobs
from seedbed_server.search.examining import examine_once
from seedbed_server.search.first_trials import first_trials_of
from seedbed_server.search.loop import trial_seed
from seedbed_server.search.preparing import prepare
from seedbed_server.search.probing import FEW_ITEMS, NOT_IN_TIME, TrialCost, probe, probe_on_parts
from seedbed_server.search.similarity import describe
from seedbed_server.search.study import STARTUP_TRIALS, Proposal, Study
from seedbed_server.store import Dataset, PreparedStore

ALL_SECONDS = 20.0
# More than a message can hold is no plan.
LONGEST_SECONDS = 3e9
PROBE_SECONDS = 2.0
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
        return _Planning(job, plan, prepared, hardware, preparing).answer()
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

    def __post_init__(self) -> None:
        began = time.monotonic()
        self.first = self._first_trials()
        self.asking = ROWS_SECONDS + (time.monotonic() - began) / max(1, len(self.first))
        self.costs = self._measured()

    def answer(self) -> dict[str, Any]:
        """The plan as plain data."""
        run = self._run_through()
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
                for proposal, seconds in (run.trials_of if run else ())
            ],
        }

    def _first_trials(self) -> list[Proposal]:
        """What the study would propose, whatever comes of it."""
        first = first_trials_of(self.plan.space, self.job)
        study = Study(self.plan.space, self.plan.metric, self.job.seed, [], first)
        count = len(first) + STARTUP_TRIALS
        proposals: list[Proposal] = []
        while len(proposals) < min(count, self.job.budget.trials or count):
            proposal = study.ask(affordable=lambda _: True)
            if proposal is None:
                break
            proposals.append(proposal)
        return proposals

    def _measured(self) -> dict[int, TrialCost]:
        """The cost of as many of the first trials as there is time for, each architecture's first
        one before its others."""
        seen: Counter[str] = Counter()
        turns = []
        for proposal in self.first:
            turns.append((seen[proposal.architecture], proposal.number, proposal))
            seen[proposal.architecture] += 1
        data = Data(self.prepared.train, self.prepared.valid, store=self.prepared.store)
        until = time.monotonic() + ALL_SECONDS
        costs: dict[int, TrialCost] = {}
        turns.sort(key=lambda turn: turn[:2])
        for place, (_, number, proposal) in enumerate(turns):
            left = until - time.monotonic()
            if left <= 0:
                break
            costs[number] = self._measure(proposal, data, left, len(turns) - place)
        return costs

    def _measure(self, proposal: Proposal, data: Data, left: float, to_come: int) -> TrialCost:
        def measured(measure: Callable[..., TrialCost]) -> TrialCost:
            return measure(
                self.plan.space.architectures[proposal.architecture],
                proposal.parameters,
                self.plan.block,
                data,
                self.plan.metric,
                hardware=self.hardware,
                seed=trial_seed(self.job.seed, proposal.number),
                limit=min(PROBE_SECONDS, left / to_come),
                longest=min(BEFORE_FIRST_EPOCH_SECONDS, left),
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
        like = known[0]
        epochs = proposal.parameters.get("epochs")
        factor = epochs / like.epochs if isinstance(epochs, int) and like.epochs else 1.0
        return replace(like, seconds=like.seconds * factor, samples=like.samples * factor)

    def _known(self, architecture: str) -> list[TrialCost]:
        return [
            cost
            for proposal in self.first
            if proposal.architecture == architecture
            and (cost := self.costs.get(proposal.number)) is not None
            and not cost.problem
        ]

    def _usual(self) -> TrialCost | None:
        """A trial of an architecture drawn at random."""
        means = [
            TrialCost(mean(c.seconds for c in known), samples=mean(c.samples for c in known))
            for name in self.plan.space.architectures
            if not self._skipped(name) and (known := self._known(name))
        ]
        if not means:
            return None
        return TrialCost(mean(c.seconds for c in means), samples=mean(c.samples for c in means))

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
        return {
            "name": name,
            "baseline": self.plan.space.architectures[name].baseline,
            "epoch": default and default.epoch_seconds,
            "epochs": default.epochs if default else 0.0,
            "trial": default and default.seconds + sum(seconds for _, seconds in default.shared),
            "memory_bytes": default.memory_bytes if default else 0,
            "problem": problem,
            "first_trials": first_trials,
        }

    def _run_through(self) -> _Run | None:
        """The search as it would go; None where nothing is known of it, or nothing would end it."""
        usual, budget = self._usual(), self.job.budget
        if usual is None or budget == Budget(target_score=budget.target_score):
            return None
        most = min(budget.trials or math.inf, self.plan.space.size())
        run, done = _Run(seconds=self.preparing), set[str]()
        until = math.inf
        if budget.wall_clock_seconds is not None:
            until = budget.wall_clock_seconds - Spending(budget, 0.0).reserve()
        samples = math.inf if budget.samples is None else float(budget.samples)
        queue = [p for p in self.first if not self._skipped(p.architecture)]
        for proposal in queue:
            if run.trials >= most or run.seconds >= until or run.samples >= samples:
                break
            known = self._cost(proposal)
            cost = known or usual
            share = min(1.0, (samples - run.samples) / max(1.0, cost.samples))
            seconds = cost.seconds * share
            seconds += sum(seconds for key, seconds in cost.shared if key not in done)
            done.update(key for key, _ in cost.shared)
            run.seconds += self.asking + seconds
            run.samples += cost.samples * share
            run.trials += 1
            run.of[proposal.architecture] += 1
            run.trials_of.append((proposal, seconds if known else None))
        each = self.asking + usual.seconds
        rest = min(
            most - run.trials,
            (until - run.seconds) / each,
            (samples - run.samples) / max(1.0, usual.samples),
        )
        if rest > 0:
            run.trials += math.ceil(rest)
            run.seconds += rest * each
        run.ran_out_of_time = run.seconds >= until
        return run

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


class _Run:
    """A search that was run through without training."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.samples = 0.0
        self.trials = 0
        self.of: Counter[str] = Counter()
        self.ran_out_of_time = False
        self.trials_of: list[tuple[Proposal, float | None]] = []


def _job(fields: Mapping[str, Any]) -> Job:
    time_ = datetime.now(UTC)
    space = {key: domain_from_dict(domain) for key, domain in fields["search_space"].items()}
    return Job(
        **{**fields, "search_space": space, "budget": Budget(**fields["budget"])},
        id="plan",
        dataset="",
        create_time=time_,
        update_time=time_,
    )


def _dataset(fields: Mapping[str, Any]) -> Dataset:
    sources = tuple(references.DataSource(**source) for source in fields["sources"])
    return Dataset(**{**fields, "sources": sources})
