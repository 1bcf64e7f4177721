"""TaskService."""

# The names and the signatures of gRPC's methods are given.
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import Any

from seedbed.v1 import tasks_pb2, tasks_pb2_grpc
from seedbed_sdk.errors import NotFound
from seedbed_server.api import convert, names
from seedbed_server.api.requests import page_of
from seedbed_server.api.rooms import Rooms
from seedbed_server.jobs.validation import unknown_task
from seedbed_server.store.pages import make_token, read_token

_QUERY = ("tasks",)


class TaskServicer(tasks_pb2_grpc.TaskServiceServicer):
    """The installed tasks."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def ListTasks(
        self, request: tasks_pb2.ListTasksRequest, context: Any
    ) -> tasks_pb2.ListTasksResponse:
        page = page_of(request)
        limit = page.limit
        (after,) = read_token(_QUERY, page.token, (str,)) or ("",)
        contents = await self._rooms.catalogue.get()
        tasks = [task for name, task in contents.tasks.items() if name > after]
        more = make_token(_QUERY, (tasks[limit - 1].name,)) if len(tasks) > limit else ""
        return tasks_pb2.ListTasksResponse(
            tasks=[convert.task_to_message(task) for task in tasks[:limit]],
            next_page_token=more,
            problems=[convert.problem_to_message(p) for p in contents.problems],
        )

    async def GetTask(self, request: tasks_pb2.GetTaskRequest, context: Any) -> tasks_pb2.Task:
        name = names.parse_task(request.name, "name")
        tasks = (await self._rooms.catalogue.get()).tasks
        if name not in tasks:
            raise NotFound(unknown_task(name, list(tasks)), metadata={"task": name})
        return convert.task_to_message(tasks[name])
