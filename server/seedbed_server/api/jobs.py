"""JobService."""

# The names and the signatures of gRPC's methods are given.
# ruff: noqa: ARG002, N802

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.empty_pb2 import Empty

from seedbed.v1 import jobs_pb2, jobs_pb2_grpc
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api import convert, names, requests
from seedbed_server.api.job_creation import replay_of, wanted_job
from seedbed_server.api.job_insights import insights_of
from seedbed_server.api.job_planning import plan_of
from seedbed_server.api.rooms import Rooms
from seedbed_server.jobs import validation
from seedbed_server.jobs.values import Job

_ORDERS = ("validation_score", "number")


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    """Searches: created, watched, ended, deleted."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._jobs = rooms.store.jobs

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, context: Any) -> jobs_pb2.Job:
        project = names.parse_parent(request.parent)
        key = requests.request_key(request, project, "CreateJob")
        earlier = await asyncio.to_thread(self._jobs.answered, key)
        if earlier is not None:
            return convert.job_to_message(earlier)
        job = await wanted_job(self._rooms, request, project)
        if not request.validate_only:
            job = await asyncio.to_thread(self._jobs.create, job, key)
            self._rooms.dispatcher.wake()
        return convert.job_to_message(job)

    async def GetJob(self, request: jobs_pb2.GetJobRequest, context: Any) -> jobs_pb2.Job:
        return convert.job_to_message(await self._get(request.name))

    async def ListJobs(
        self, request: jobs_pb2.ListJobsRequest, context: Any
    ) -> jobs_pb2.ListJobsResponse:
        project = names.parse_parent(request.parent)
        which = requests.job_filter(request.filter)
        page = await asyncio.to_thread(self._jobs.list, project, which, requests.page_of(request))
        return jobs_pb2.ListJobsResponse(
            jobs=[convert.job_to_message(job) for job in page.items],
            next_page_token=page.next_token,
        )

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[jobs_pb2.JobEvent]:
        job = await self._get(request.name)
        async with aclosing(self._rooms.watching.follow(job, request.after_sequence)) as events:
            async for event in events:
                yield event

    async def StopJob(self, request: jobs_pb2.StopJobRequest, context: Any) -> jobs_pb2.Job:
        job = await self._get(request.name)
        job = await asyncio.to_thread(self._jobs.request_stop, job.id)
        self._rooms.dispatcher.stop(job.id)
        self._rooms.watching.notify(job.id)
        return convert.job_to_message(job)

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, context: Any) -> jobs_pb2.Job:
        job = await self._get(request.name)
        # The row first: from then on the worker's writes are refused, whatever it still does.
        job = await asyncio.to_thread(self._jobs.cancel, job.id)
        self._rooms.watching.notify(job.id)
        await self._rooms.dispatcher.cancel(job.id)
        return convert.job_to_message(job)

    async def DeleteJob(self, request: jobs_pb2.DeleteJobRequest, context: Any) -> Empty:
        job = await self._get(request.name)
        await asyncio.to_thread(self._jobs.delete, job.id)
        await asyncio.to_thread(self._rooms.files.drop_kept, job.id)
        return Empty()

    async def ExtendJob(self, request: jobs_pb2.ExtendJobRequest, context: Any) -> jobs_pb2.Job:
        job = await self._get(request.name)
        more = requests.budget_from_message(request.budget)
        if violations := list(validation.check_budget(more, "budget")):
            raise InvalidArgument.of(violations)
        if job.state.ended:
            # The worker that ended it may not have left yet.
            await self._rooms.dispatcher.gone(job.id)
            # It may have been deleted since, and would be missed only by the worker.
            await asyncio.to_thread(self._rooms.store.datasets.get, job.dataset, job.project)
        job = await asyncio.to_thread(self._jobs.extend, job.id, more)
        self._rooms.watching.notify(job.id)
        self._rooms.dispatcher.wake()
        return convert.job_to_message(job)

    async def ReplayJob(self, request: jobs_pb2.ReplayJobRequest, context: Any) -> jobs_pb2.Job:
        job = await self._get(request.name)
        key = requests.request_key(request, job.project, "ReplayJob")
        replay = await asyncio.to_thread(self._jobs.answered, key)
        if replay is None:
            traced = self._rooms.tracing.context()
            replay = await asyncio.to_thread(replay_of, self._rooms.store, job, traced)
            replay = await asyncio.to_thread(self._jobs.create, replay, key)
            self._rooms.dispatcher.wake()
        return convert.job_to_message(replay)

    async def PlanJob(self, request: jobs_pb2.PlanJobRequest, context: Any) -> jobs_pb2.JobPlan:
        project = names.parse_parent(request.parent)
        return await plan_of(self._rooms, request.job, project)

    async def GetJobInsights(
        self, request: jobs_pb2.GetJobInsightsRequest, context: Any
    ) -> jobs_pb2.JobInsights:
        return await insights_of(self._rooms, await self._get(request.name))

    async def ListTrials(
        self, request: jobs_pb2.ListTrialsRequest, context: Any
    ) -> jobs_pb2.ListTrialsResponse:
        job = await self._get(request.parent, "parent")
        order = request.order_by or "validation_score"
        if order not in _ORDERS:
            raise InvalidArgument(
                "order_by", f"trials cannot be ordered by {order!r}, but by {' or '.join(_ORDERS)}"
            )
        higher = await self._higher_is_better(job) if order == "validation_score" else True
        page = await asyncio.to_thread(
            self._rooms.store.trials.page, job.id, order, higher, requests.page_of(request)
        )
        return jobs_pb2.ListTrialsResponse(
            trials=[convert.trial_to_message(job, trial) for trial in page.items],
            next_page_token=page.next_token,
        )

    async def _higher_is_better(self, job: Job) -> bool:
        task = (await self._rooms.catalogue.get()).tasks.get(job.task)
        # The plugin may have been uninstalled since.
        return task.higher_is_better(job.metric) if task else True

    async def _get(self, name: str, field: str = "name") -> Job:
        project, job_id = names.parse("jobs", name, field)
        return await asyncio.to_thread(self._jobs.get, job_id, project)
