"""What CreateJob makes of its request: a checked job, or everything that is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from seedbed.v1 import jobs_pb2
from seedbed_sdk.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from seedbed_sdk.space import domain_to_dict
from seedbed_server.api import names, requests
from seedbed_server.api.rooms import Rooms
from seedbed_server.catalogue import TaskInfo
from seedbed_server.data import references
from seedbed_server.jobs import validation
from seedbed_server.jobs.sources import payload_of, sources_of
from seedbed_server.jobs.space_check import check_space
from seedbed_server.jobs.starting_points import check_points, domains_of
from seedbed_server.jobs.values import Job, Replay
from seedbed_server.store import Dataset, Store
from seedbed_server.store.values import new_id, now


async def wanted_job(rooms: Rooms, request: jobs_pb2.CreateJobRequest, project: str) -> Job:
    """The job as it would be created.

    Raises InvalidArgument with a violation for each field at fault, those that can be seen without
    the data together.
    """
    wanted = request.job
    violations: list[FieldViolation] = []
    points: list[Mapping[str, Any]]
    task = await _task(rooms, wanted.task, violations)
    dataset = await _dataset(rooms, wanted.dataset, project, violations)
    budget = requests.budget_from_message(wanted.budget)
    violations += validation.check_budget(budget)
    constraints = requests.constraints_from_message(wanted.constraints)
    violations += validation.check_constraints(constraints)
    violations += validation.check_seed(wanted.seed)
    options = requests.struct_to_dict(wanted.options)
    space, unset = requests.search_space(wanted)
    violations += unset
    points = [requests.struct_to_dict(point) for point in wanted.starting_points]
    if task is not None:
        violations += validation.check_metric(wanted.metric, task)
        violations += validation.check_options(options, task)
        checked = check_space(space, task)
        violations += checked.violations
        space = checked.space
        given = check_points(points, domains_of(task, space), space)
        violations += given.violations
        points = given.points
    job_id = request.job_id
    if job_id:
        _collect(violations, lambda: names.check_id(job_id, "job_id"))
    if violations:
        raise InvalidArgument.of(violations)
    assert task is not None and dataset is not None
    time = now()
    job = Job(
        id=job_id or new_id(),
        project=project,
        display_name=wanted.display_name,
        task=task.name,
        dataset=dataset.id,
        target=wanted.target,
        options=options,
        metric=wanted.metric,
        budget=budget,
        constraints=constraints,
        find_learning_rate=wanted.find_learning_rate,
        seed=wanted.seed,
        search_space=space,
        starting_points=tuple(points),
        trace_context=rooms.tracing.context(),
        ignore_earlier_jobs=_ignores_earlier_jobs(wanted),
        dataset_fingerprint=dataset.fingerprint,
        create_time=time,
        update_time=time,
    )
    return await _settled(rooms, job, dataset)


def _ignores_earlier_jobs(wanted: jobs_pb2.Job) -> bool:
    if wanted.HasField("ignore_earlier_jobs"):
        return wanted.ignore_earlier_jobs
    return wanted.HasField("seed") and not wanted.budget.HasField("wall_clock")


def replay_of(store: Store, job: Job, trace_context: Mapping[str, str]) -> Job:
    """A job that trains another one's model again, traced under `trace_context`.

    Raises FailedPrecondition where there is nothing to go by, and NotFound where the dataset was
    deleted.
    """
    if not job.model:
        raise FailedPrecondition(
            f"job {job.id!r} is {job.state} and has no model to train again; only a search that "
            "succeeded has one",
            reason="NO_MODEL",
            metadata={"job": job.id, "state": str(job.state)},
        )
    model = store.models.get(job.model, job.project)
    recipes = {trial.number: trial.recipe for trial in store.trials.list(job.id)}
    members = model.recipe.get("members", [])
    if not model.digest or not members or not all(recipes.get(number) for number in members):
        raise FailedPrecondition(
            f"nothing was written down of how model {model.id!r} was trained, since an earlier "
            "version did it; train it with this version first",
            reason="NO_RECIPE",
            metadata={"model": model.id},
        )
    time = now()
    return Job(
        id=new_id(),
        project=job.project,
        display_name=job.display_name,
        task=job.task,
        dataset=job.dataset,
        target=job.target,
        options=job.options,
        metric=job.metric,
        budget=job.budget,
        seed=job.seed,
        search_space=job.search_space,
        dataset_fingerprint=job.dataset_fingerprint,
        create_time=time,
        update_time=time,
        replay_of=job.id,
        trace_context=trace_context,
        replay=Replay(model.id, model.recipe, model.digest, model.recipe["score"]),
    )


async def _task(rooms: Rooms, name: str, violations: list[FieldViolation]) -> TaskInfo | None:
    short = _collect(violations, lambda: names.parse_task(name, "job.task"))
    if short is None:
        return None
    tasks = (await rooms.catalogue.get()).tasks
    if short not in tasks:
        violations.append(FieldViolation("job.task", validation.unknown_task(short, list(tasks))))
    return tasks.get(short)


async def _dataset(
    rooms: Rooms, name: str, project: str, violations: list[FieldViolation]
) -> Dataset | None:
    parsed = _collect(violations, lambda: names.parse("datasets", name, "job.dataset", project))
    if parsed is None:
        return None
    owner, dataset_id = parsed
    if owner == project:
        with suppress(NotFound):
            return await asyncio.to_thread(rooms.store.datasets.get, dataset_id, project)
    text = f"there is no dataset {dataset_id!r} in project {project!r}; create it first"
    violations.append(FieldViolation("job.dataset", text))
    return None


def _collect(violations: list[FieldViolation], check: Callable[[], Any]) -> Any:
    try:
        return check()
    except InvalidArgument as error:
        violations += error.violations
        return None


async def _settled(rooms: Rooms, job: Job, dataset: Dataset) -> Job:
    """The job with target and metric as they were decided from the data."""
    sources = await asyncio.to_thread(sources_of, dataset, rooms.store, rooms.files)
    try:
        await asyncio.to_thread(references.resolve, sources, rooms.policy)
        found = await rooms.calls.call(
            "check_job",
            {
                "task": job.task,
                "target": job.target,
                "options": dict(job.options),
                "metric": job.metric,
                "search_space": {k: domain_to_dict(d) for k, d in job.search_space.items()},
                "starting_points": [dict(point) for point in job.starting_points],
                **payload_of(sources, dataset.layout),
                "policy": rooms.policy.to_dict(),
            },
            timeout=rooms.settings.call_timeout,
        )
    except InvalidArgument as error:
        raise _as_job_error(error) from error
    return replace(job, target=found["target"], metric=found["metric"])


def _as_job_error(error: InvalidArgument) -> InvalidArgument:
    """The same with fields of this request: a source at fault is the job's dataset."""
    violations = [
        FieldViolation("job.dataset", v.description) if v.field.startswith("dataset.") else v
        for v in error.violations
    ]
    return InvalidArgument.of(violations, reason=error.reason)
