"""What PlanJob answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from seedbed.v1 import jobs_pb2
from seedbed_sdk.space import domain_to_dict
from seedbed_server.api import convert
from seedbed_server.api.job_creation import wanted_job
from seedbed_server.api.rooms import Rooms
from seedbed_server.jobs.sources import payload_of, sources_of
from seedbed_server.jobs.values import Job

# Less than clients wait; on large data most of it is preparing, which is kept once it is done.
TIMEOUT_SECONDS = 280.0


async def plan_of(rooms: Rooms, wanted: jobs_pb2.Job, project: str) -> jobs_pb2.JobPlan:
    """The plan of a job that is checked as for CreateJob. Raises as that does, and OutOfTime."""
    job = await wanted_job(rooms, jobs_pb2.CreateJobRequest(job=wanted), project)
    dataset = await asyncio.to_thread(rooms.store.datasets.get, job.dataset, project)
    sources = await asyncio.to_thread(sources_of, dataset, rooms.store, rooms.files)
    winners = await asyncio.to_thread(rooms.store.winners.of, project, job.task)
    slot = rooms.dispatcher.slots[0]
    found = await rooms.calls.call(
        "plan_job",
        {
            "job": _fields(job),
            "dataset": asdict(dataset),
            "sources": payload_of(sources)["sources"],
            "winners": [] if job.ignore_earlier_jobs else [asdict(winner) for winner in winners],
            "policy": rooms.policy.to_dict(),
            "prepared": str(rooms.files.prepared),
            "device": slot.device,
            "threads": slot.threads,
        },
        timeout=TIMEOUT_SECONDS,
    )
    return _to_message(job, found)


def _fields(job: Job) -> dict[str, Any]:
    """What of a job says how it goes."""
    return {
        "project": job.project,
        "dataset_fingerprint": job.dataset_fingerprint,
        "task": job.task,
        "target": job.target,
        "options": dict(job.options),
        "metric": job.metric,
        "budget": asdict(job.budget),
        "constraints": asdict(job.constraints),
        "seed": job.seed,
        "search_space": {key: domain_to_dict(domain) for key, domain in job.search_space.items()},
        "starting_points": [dict(point) for point in job.starting_points],
        "ignore_earlier_jobs": job.ignore_earlier_jobs,
    }


def _to_message(job: Job, plan: Mapping[str, Any]) -> jobs_pb2.JobPlan:
    message = convert.job_to_message(job)
    message.ClearField("name")
    return jobs_pb2.JobPlan(
        job=message,
        preparing=convert.duration(plan["preparing"]),
        finishing=convert.duration(plan["finishing"]),
        wall_clock=convert.duration(plan["wall_clock"]),
        trials=plan["trials"],
        paused_trials=plan["paused"],
        samples=plan["samples"],
        memory_bytes=plan["memory_bytes"],
        architectures=[
            jobs_pb2.PlannedArchitecture(
                name=architecture["name"],
                baseline=architecture["baseline"],
                epoch=convert.duration(architecture["epoch"]),
                epochs=architecture["epochs"],
                trial=convert.duration(architecture["trial"]),
                memory_bytes=architecture["memory_bytes"],
                problem=architecture["problem"],
                first_trials=architecture["first_trials"],
                meets_constraints=architecture["meets_constraints"],
                latency=convert.duration(architecture["latency"]),
                size_bytes=architecture["size_bytes"],
                constraints_reason=architecture["constraints_reason"],
            )
            for architecture in plan["architectures"]
        ],
        first_trials=[
            jobs_pb2.PlannedTrial(
                architecture=trial["architecture"],
                parameters=convert.struct(trial["parameters"]),
                duration=convert.duration(trial["seconds"]),
                origin=trial["origin"],
                origin_job=convert.origin_job(job.project, trial["origin_job"]),
            )
            for trial in plan["first_trials"]
        ],
    )
