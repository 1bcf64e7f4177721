"""TaskService, health and reflection."""

from __future__ import annotations

import grpc
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from seedbed.v1 import tasks_pb2
from tests.api.harness import Harness, refused


def test_tasks_are_listed_with_the_plugins_that_failed(service: Harness) -> None:
    found = service.tasks.ListTasks(tasks_pb2.ListTasksRequest())
    assert [t.name for t in found.tasks] == ["tasks/small", "tasks/tiny"]
    assert found.problems[0].plugin == "broken"
    first = service.tasks.ListTasks(tasks_pb2.ListTasksRequest(page_size=1))
    rest = service.tasks.ListTasks(
        tasks_pb2.ListTasksRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [t.name for t in rest.tasks] == ["tasks/tiny"]
    assert not rest.next_page_token


def test_a_task_is_described_in_full(service: Harness) -> None:
    for name in ("tiny", "tasks/tiny"):
        task = service.tasks.GetTask(tasks_pb2.GetTaskRequest(name=name))
        assert task.name == "tasks/tiny"
    assert MessageToDict(task.options_schema)["properties"]["epochs"]["maximum"] == 10000
    assert [(m.name, m.higher_is_better) for m in task.metrics] == [
        ("accuracy", True),
        ("log_loss", False),
    ]
    net = task.architectures[1]
    assert net.search_space["learning_rate"].float_range.log
    assert net.search_space["epochs"].int_range.high == 30
    assert [v.number_value for v in net.search_space["layers"].choices.values] == [1, 2, 4]
    assert (task.package, task.package_version) == ("tests", "1")


def test_a_task_that_is_not_there_is_answered_with_those_that_are(service: Harness) -> None:
    error = refused(service.tasks.GetTask, tasks_pb2.GetTaskRequest(name="tiny2"))
    assert error.code == grpc.StatusCode.NOT_FOUND
    assert error.message == (
        "there is no task 'tiny2'; there are: small, tiny; did you mean 'tiny'?"
    )
    error = refused(service.tasks.GetTask, tasks_pb2.GetTaskRequest())
    assert error.violations == {"name": "is required; ListTasks says which there are"}


def test_health_and_reflection_answer(service: Harness) -> None:
    health = health_pb2_grpc.HealthStub(service.channel)
    for name in ("", "seedbed.v1.JobService", "seedbed.v1.PredictionService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=10)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    services = ProtoReflectionDescriptorDatabase(service.channel).get_services()
    assert {"seedbed.v1.JobService", "grpc.health.v1.Health"} <= set(services)
