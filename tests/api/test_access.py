"""Who is let in, and what they see: a server with TLS and tokens, and every method that it has."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from seedbed.credentials import Credentials
from seedbed.v1 import (
    datasets_pb2,
    jobs_pb2,
    models_pb2,
    predictions_pb2,
    server_pb2,
    tasks_pb2,
    values_pb2,
)
from seedbed_server import tokens
from seedbed_server.administration import create_token
from seedbed_server.api.access import ACCESS, Access
from seedbed_server.api.server import SERVICES
from seedbed_server.store import Files, Store
from seedbed_server.store.values import new_id
from seedbed_server.tokens import Role, Token
from tests.api.harness import Calls, Harness, Refusal, launch, refused, wanted
from tests.certificates import Certificate
from tests.conftest import eventually

DENIED, MISSING = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND
UNKNOWN, INVALID = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT

FILES = (datasets_pb2, jobs_pb2, models_pb2, predictions_pb2, server_pb2, tasks_pb2)
METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True)
class Names:
    """How a caller names things: with their project or without."""

    parent: str
    dataset: str
    job: str
    model: str

    @property
    def shortened(self) -> Names:
        parts = (self.dataset, self.job, self.model)
        return Names("", *(name.rpartition("/")[2] for name in parts))


def _upload(names: Names) -> Any:
    header = datasets_pb2.UploadHeader(
        parent=names.parent, upload_id="u", file_name="u.csv", size_bytes=1, sha256="0" * 64
    )
    return iter([datasets_pb2.UploadDatasetRequest(header=header)])


def _create(names: Names) -> Any:
    source = datasets_pb2.DataSource(
        uri=names.dataset if names.parent else f"datasets/{names.dataset}"
    )
    dataset = datasets_pb2.Dataset(sources=[source])
    return datasets_pb2.CreateDatasetRequest(parent=names.parent, dataset=dataset)


def _predict(names: Names) -> Any:
    value = values_pb2.Value(int64_value=1)
    examples = [values_pb2.Example(fields={"a": value})]
    return predictions_pb2.PredictRequest(model=names.model, examples=examples)


def _by(field: str, which: str, request: Callable[..., Any], **more: Any) -> Callable[[Names], Any]:
    return lambda names: request(**{field: getattr(names, which)}, **more)


BUDGET = jobs_pb2.Budget(trials=1)
# A request for every method, by the names in it; None where there are none in it.
REQUESTS: dict[str, Callable[[Names], Any] | None] = {
    "TaskService/ListTasks": None,
    "TaskService/GetTask": None,
    "DatasetService/CreateDataset": _create,
    "DatasetService/UploadDataset": _upload,
    "DatasetService/GetDataset": _by("name", "dataset", datasets_pb2.GetDatasetRequest),
    "DatasetService/ListDatasets": _by("parent", "parent", datasets_pb2.ListDatasetsRequest),
    "DatasetService/DeleteDataset": _by("name", "dataset", datasets_pb2.DeleteDatasetRequest),
    "DatasetService/InspectDataset": _by("name", "dataset", datasets_pb2.InspectDatasetRequest),
    "JobService/CreateJob": lambda names: jobs_pb2.CreateJobRequest(
        parent=names.parent, job=wanted(names.dataset)
    ),
    "JobService/PlanJob": lambda names: jobs_pb2.PlanJobRequest(
        parent=names.parent, job=wanted(names.dataset)
    ),
    "JobService/GetJob": _by("name", "job", jobs_pb2.GetJobRequest),
    "JobService/ListJobs": _by("parent", "parent", jobs_pb2.ListJobsRequest),
    "JobService/WatchJob": _by("name", "job", jobs_pb2.WatchJobRequest),
    "JobService/StopJob": _by("name", "job", jobs_pb2.StopJobRequest),
    "JobService/CancelJob": _by("name", "job", jobs_pb2.CancelJobRequest),
    "JobService/ExtendJob": _by("name", "job", jobs_pb2.ExtendJobRequest, budget=BUDGET),
    "JobService/ReplayJob": _by("name", "job", jobs_pb2.ReplayJobRequest),
    "JobService/DeleteJob": _by("name", "job", jobs_pb2.DeleteJobRequest),
    "JobService/GetJobInsights": _by("name", "job", jobs_pb2.GetJobInsightsRequest),
    "JobService/ListTrials": _by("parent", "job", jobs_pb2.ListTrialsRequest),
    "ModelService/GetModel": _by("name", "model", models_pb2.GetModelRequest),
    "ModelService/ListModels": _by("parent", "parent", models_pb2.ListModelsRequest),
    "ModelService/DeleteModel": _by("name", "model", models_pb2.DeleteModelRequest),
    "ModelService/DownloadModel": _by("name", "model", models_pb2.DownloadModelRequest),
    "PredictionService/Predict": _predict,
    "ServerService/GetServerStatus": None,
}
# These find nothing in an empty project, and make something there: there is nothing to miss.
NOTHING_TO_MISS = {
    *("DatasetService/UploadDataset", "DatasetService/ListDatasets"),
    *("JobService/ListJobs", "ModelService/ListModels"),
}
NAMED = sorted(method for method, request in REQUESTS.items() if request)


class House:
    """A server with TLS and tokens, callers of two projects, and what one of them has."""

    def __init__(self, server: Harness, ca: bytes, stack: ExitStack) -> None:
        self.server = server
        self.store = Store(Files(server.data_dir).database_url)
        self.secrets: list[str] = []
        self.ca = ca
        self._stack = stack

    def token(self, role: Role, *projects: str, days: int = 1) -> tuple[str, str]:
        """The id of a new token, and the token."""
        made = create_token(self.store, label="test", role=role, projects=projects, days=days)
        self.secrets.append(made["token"])
        return made["id"], made["token"]

    def calls(self, token: str = "") -> Calls:
        """Calls with a token, until the end of the tests."""
        return self._stack.enter_context(self.server.calls(Credentials(token, True, self.ca)))

    def call(self, calls: Calls, method: str) -> Any:
        service, name = method.split("/")
        stubs = {
            "TaskService": calls.tasks,
            "DatasetService": calls.datasets,
            "JobService": calls.jobs,
            "ModelService": calls.models,
            "PredictionService": calls.predictions,
            "ServerService": calls.server,
        }
        return getattr(stubs[service], name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("access")
    certificate = Certificate.make(folder / "certificate")
    ca = certificate.path.read_bytes()
    options = (
        *("--server-certificate", str(certificate.path), "--server-key", str(certificate.key)),
        *("--require-tokens", "--allow-root", str(root), "--workers", "2"),
    )
    secure = Credentials(tls=True, ca=ca)
    address = "localhost:0"
    with (
        launch(folder / "data", *options, address=address, credentials=secure) as server,
        ExitStack() as stack,
    ):
        house = House(server, ca, stack)
        yield house
        house.store.close()


@pytest.fixture(scope="module")
def theirs(house: House) -> Calls:
    """Calls of a user of the project `theirs`."""
    return house.calls(house.token(Role.USER, "theirs")[1])


@pytest.fixture(scope="module")
def mine(house: House) -> Calls:
    """Calls of a user of the projects `mine` and `ours`."""
    return house.calls(house.token(Role.USER, "mine", "ours")[1])


@pytest.fixture(scope="module")
def names(theirs: Calls, root: Path) -> Names:
    """What there is in `theirs`."""
    dataset = theirs.dataset(root / "theirs.csv")
    job = theirs.finished(dataset)
    return Names("projects/theirs", dataset, job.name, job.model)


def ask(names: Names, method: str) -> Any:
    """A fresh request, since streams are read up."""
    request = REQUESTS[method]
    assert request is not None
    return request(names)


def unnamed(method: str, names: Names) -> Any:
    """A request for any method."""
    if method == "TaskService/ListTasks":
        return tasks_pb2.ListTasksRequest()
    if method == "TaskService/GetTask":
        return tasks_pb2.GetTaskRequest(name="tiny")
    if method == "ServerService/GetServerStatus":
        return server_pb2.GetServerStatusRequest()
    return ask(names, method)


def test_every_method_has_its_access_and_is_tried_here() -> None:
    assert {m.containing_service.full_name for m in METHODS.values()} == set(SERVICES)
    assert set(REQUESTS) == set(METHODS), "add the method to REQUESTS, so that it is tried"
    standard = [
        *health_pb2.DESCRIPTOR.services_by_name["Health"].methods,
        *reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].methods,
    ]
    everything = [*METHODS.values(), *standard]
    served = {f"/{m.containing_service.full_name}/{m.name}" for m in everything}
    # In newer versions of the package.
    served.add("/grpc.health.v1.Health/List")
    assert set(ACCESS) == served, "add the method to seedbed_server.api.access"
    opened = {method for method, access in ACCESS.items() if access is Access.OPEN}
    assert all(method.startswith("/grpc.health.v1.Health/") for method in opened)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nobody_calls_without_a_token_that_holds(house: House, names: Names, method: str) -> None:
    _, good = house.token(Role.USER, "theirs")
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    expects = [
        ("", "this server asks for a token: send it as the metadata"),
        ("seedbed_nobody1_" + "A" * 43, "this server does not know the token"),
        (wrong, "this server does not know the token"),
        ("nonsense", "is not one token of this server"),
    ]
    for token, text in expects:
        error = refused(house.call(house.calls(token), method), unnamed(method, names))
        assert (error.code, text in error.message) == (UNKNOWN, True), error.message
        assert not token or token not in error.message


@pytest.mark.parametrize("method", NAMED)
def test_a_project_of_others_is_refused_whatever_is_in_it(
    house: House, mine: Calls, names: Names, method: str
) -> None:
    nothing = Names("projects/theirs", *(
        f"projects/theirs/{kind}/nothere" for kind in ("datasets", "jobs", "models")
    ))  # fmt: skip
    errors = [refused(house.call(mine, method), ask(n, method)) for n in (names, nothing)]
    assert [error.code for error in errors] == [DENIED, DENIED]
    assert errors[0].reason == "PROJECT_NOT_ALLOWED"
    assert errors[0].message == errors[1].message
    assert "is not for project 'theirs'; it is for mine, ours" in errors[0].message


@pytest.mark.parametrize("method", sorted(set(NAMED) - NOTHING_TO_MISS))
def test_what_others_have_is_not_there(
    house: House, mine: Calls, names: Names, method: str
) -> None:
    nothing = Names("", "nothere", "nothere", "nothere")
    short = names.shortened
    found = refused(house.call(mine, method), ask(short, method))
    absent = refused(house.call(mine, method), ask(nothing, method))
    assert found.code == absent.code
    assert found.code in (MISSING, INVALID)
    text = str([found.message, found.reason, found.metadata, found.violations])
    for name in (short.dataset, short.job, short.model):
        text = text.replace(name, "nothere")
    assert text == str([absent.message, absent.reason, absent.metadata, absent.violations])
    assert "there is no" in found.message


@pytest.mark.parametrize(
    "method",
    sorted(m for m, d in METHODS.items()
           if ACCESS[f"/{d.containing_service.full_name}/{d.name}"] is Access.WRITE),
)  # fmt: skip
def test_a_viewer_changes_nothing(house: House, names: Names, method: str) -> None:
    viewer = house.calls(house.token(Role.VIEWER, "theirs")[1])
    error = refused(house.call(viewer, method), ask(names, method))
    assert (error.code, error.reason) == (DENIED, "ROLE_TOO_LOW")
    assert "it takes a token with the role user or admin" in error.message


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER])
def test_what_the_server_is_like_is_for_administrators(house: House, role: Role) -> None:
    method, request = "ServerService/GetServerStatus", server_pb2.GetServerStatusRequest()
    caller = house.calls(house.token(role, "theirs")[1])
    error = refused(house.call(caller, method), request)
    assert (error.code, error.reason) == (DENIED, "ROLE_TOO_LOW")
    assert error.message.endswith("it takes a token with the role admin")
    administrator = house.calls(house.token(Role.ADMIN)[1])
    assert house.call(administrator, method)(request).checks


def test_a_viewer_looks_downloads_and_predicts(house: House, names: Names) -> None:
    viewer = house.calls(house.token(Role.VIEWER, "theirs")[1])
    assert viewer.jobs.GetJob(ask(names.shortened, "JobService/GetJob")).name == names.job
    assert viewer.events(names.job)
    assert list(viewer.models.DownloadModel(ask(names, "ModelService/DownloadModel")))
    assert viewer.predictions.Predict(_predict(names)).model == names.model


def test_lists_hold_what_is_the_callers(
    house: House, mine: Calls, names: Names, root: Path
) -> None:
    own = mine.dataset(root / "mine.csv")
    also = mine.dataset(root / "ours.csv", parent="projects/ours")
    assert (own.split("/")[1], also.split("/")[1]) == ("mine", "ours")
    listed = mine.datasets.ListDatasets(datasets_pb2.ListDatasetsRequest()).datasets
    assert [d.name for d in listed] == [own]
    ours = datasets_pb2.ListDatasetsRequest(parent="projects/ours")
    assert [d.name for d in mine.datasets.ListDatasets(ours).datasets] == [also]
    assert not mine.jobs.ListJobs(jobs_pb2.ListJobsRequest()).jobs
    assert not mine.models.ListModels(models_pb2.ListModelsRequest()).models
    admin = house.calls(house.token(Role.ADMIN)[1])
    everywhere = models_pb2.ListModelsRequest(parent="projects/theirs")
    assert [m.name for m in admin.models.ListModels(everywhere).models] == [names.model]


def test_a_call_may_say_which_project_it_is_about(house: House, names: Names) -> None:
    def listed(token: str, project: str) -> Any:
        credentials = Credentials(token, True, house.ca, project=project)
        with house.server.calls(credentials) as calls:
            short = ask(names.shortened, "JobService/GetJob")
            return calls.jobs.GetJob(short, timeout=20).name

    _, admin = house.token(Role.ADMIN)
    assert listed(admin, "theirs") == names.job
    _, mine = house.token(Role.USER, "mine", "theirs")
    assert listed(mine, "theirs") == names.job
    _, stranger = house.token(Role.USER, "mine")
    for token, project, code in (
        (admin, "", MISSING),
        (mine, "mine", MISSING),
        (stranger, "theirs", DENIED),
        (admin, "No/Name", INVALID),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            listed(token, project)
        assert Refusal(caught.value).code == code


def test_uploads_are_reached_by_their_datasets_only(
    house: House, theirs: Calls, mine: Calls
) -> None:
    content = b"a,b\n1,x\n"
    header = datasets_pb2.UploadHeader(
        upload_id="file",
        file_name="secret.csv",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    parts = [{"header": header}, {"chunk": content}]
    requests = [datasets_pb2.UploadDatasetRequest(**part) for part in parts]  # type: ignore[arg-type]
    dataset = theirs.datasets.UploadDataset(iter(requests)).dataset
    assert dataset.name.startswith("projects/theirs/datasets/")
    kept = house.server.data_dir / "uploads" / dataset.name.rpartition("/")[2]
    for path in (kept / "secret.csv", kept, kept.parent):
        source = datasets_pb2.DataSource(uri=str(path))
        request = datasets_pb2.CreateDatasetRequest(dataset=datasets_pb2.Dataset(sources=[source]))
        error = refused(mine.datasets.CreateDataset, request)
        assert "name the dataset that the file was uploaded as" in error.message
    # The same upload id in another project is another upload.
    other = mine.datasets.UploadDataset(iter(requests)).dataset
    assert other.name.startswith("projects/mine/datasets/")


def test_health_takes_no_token_and_reflection_does(house: House, mine: Calls) -> None:
    with house.server.calls(Credentials(tls=True, ca=house.ca)) as anybody:
        health = health_pb2_grpc.HealthStub(anybody.channel)
        check = health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection = reflection_pb2_grpc.ServerReflectionStub(anybody.channel)
        assert refused(reflection.ServerReflectionInfo, iter([request])).code == UNKNOWN
    reflection = reflection_pb2_grpc.ServerReflectionStub(mine.channel)
    (answer,) = reflection.ServerReflectionInfo(iter([request]), timeout=20)
    assert set(SERVICES) < {s.name for s in answer.list_services_response.service}


def watched(calls: Calls, name: str) -> tuple[threading.Thread, threading.Event, list[Refusal]]:
    """Watches a job on a thread; says when it has begun, and how it was ended."""
    begun, ends = threading.Event(), list[Refusal]()

    def watch() -> None:
        try:
            for _ in calls.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name), timeout=60):
                begun.set()
        except grpc.RpcError as error:
            ends.append(Refusal(error))

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, begun, ends


def test_a_revoked_token_ends_what_it_watches_and_sends(
    house: House, theirs: Calls, root: Path
) -> None:
    token_id, token = house.token(Role.USER, "theirs")
    caller = house.calls(token)
    name = theirs.job(theirs.dataset(root / "wait.csv"), mode="wait").name
    thread, begun, ends = watched(caller, name)
    other, other_begun, other_ends = watched(theirs, name)
    assert begun.wait(30) and other_begun.wait(30)

    sent, revoked = threading.Event(), threading.Event()

    def parts() -> Iterator[datasets_pb2.UploadDatasetRequest]:
        header = datasets_pb2.UploadHeader(
            upload_id="slow", file_name="s.csv", size_bytes=9, sha256="0" * 64
        )
        yield datasets_pb2.UploadDatasetRequest(header=header)
        yield datasets_pb2.UploadDatasetRequest(chunk=b"a")
        sent.set()
        revoked.wait(60)

    sending = caller.datasets.UploadDataset.future(parts(), timeout=60)
    partial = house.server.data_dir / "uploads" / ".partial" / "theirs.slow"
    assert sent.wait(30) and eventually(lambda: partial.exists() and partial.stat().st_size == 1)
    house.store.tokens.revoke(token_id)
    thread.join(20)
    assert not thread.is_alive()
    error = sending.exception(20)
    revoked.set()
    assert [(e.code, e.reason) for e in ends] == [(UNKNOWN, "TOKEN_ENDED")]
    assert ends[0].message == f"token {token_id!r} was revoked; ask for a new one"
    assert Refusal(error).code == UNKNOWN
    assert refused(caller.jobs.GetJob, jobs_pb2.GetJobRequest(name=name)).code == UNKNOWN
    assert other.is_alive() and not other_ends, "others go on watching"
    theirs.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
    other.join(30)
    assert not other_ends


def test_an_expired_token_says_since_when(house: House) -> None:
    secret, then = tokens.new_secret(), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    token = Token(
        id=new_id(),
        label="old",
        digest=tokens.digest_of(secret),
        role=Role.ADMIN,
        projects=(),
        create_time=then - timedelta(days=1),
        expire_time=then,
    )
    house.store.tokens.add(token)
    caller = house.calls(tokens.text_of(token.id, secret))
    error = refused(caller.tasks.ListTasks, tasks_pb2.ListTasksRequest())
    assert error.code == UNKNOWN
    assert error.message == (
        f"token {token.id!r} expired at 2026-01-02 03:04 UTC; ask for a new one"
    )


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Basic dXNlcjpwYXNz")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer " + "a" * 4000)],
        [("authorization", "Bearer seedbed_abc_' OR 1=1 --")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("authorization-bin", b"\xff")],
    ],
)  # fmt: skip
def test_hostile_authorization_is_just_refused(house: House, metadata: Any) -> None:
    calls = house.calls()
    with pytest.raises(grpc.RpcError) as caught:
        calls.tasks.ListTasks(tasks_pb2.ListTasksRequest(), metadata=metadata, timeout=20)
    assert Refusal(caught.value).code == UNKNOWN


def test_a_megabyte_of_metadata_harms_nobody(house: House, mine: Calls) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        house.calls().tasks.ListTasks(
            tasks_pb2.ListTasksRequest(), metadata=[("x", "a" * 2**20)], timeout=20
        )
    assert caught.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    )
    assert mine.tasks.ListTasks(tasks_pb2.ListTasksRequest(), timeout=20).tasks


def test_who_did_what_is_written_down_and_no_secret_anywhere(
    house: House, theirs: Calls, names: Names, root: Path
) -> None:
    token_id, token = house.token(Role.USER, "mine")
    caller = house.calls(token)
    name = caller.dataset(root / "audited.csv")
    caller.datasets.GetDataset(datasets_pb2.GetDatasetRequest(name=name))
    for _ in range(3):
        refused(caller.jobs.GetJob, jobs_pb2.GetJobRequest(name=names.job))
    rows: list[Any] = []

    def written() -> bool:
        rows[:] = house.store.audit.list(100, token_id)
        return sum(row.count for row in rows) == 4

    assert eventually(written, 20)
    first = rows[-1]
    assert (first.method, first.resource, first.outcome) == (
        "seedbed.v1.DatasetService/CreateDataset",
        name,
        "OK",
    )
    assert first.peer in ("ipv4:127.0.0.1", "ipv6:[::1]")
    assert {(r.method, r.resource, r.outcome) for r in rows[:-1]} == {
        ("seedbed.v1.JobService/GetJob", names.job, "PERMISSION_DENIED")
    }
    refused(house.calls("seedbed_abcd_" + "A" * 43).jobs.ListJobs, jobs_pb2.ListJobsRequest())
    unknown = ("", "seedbed.v1.JobService/ListJobs", "UNAUTHENTICATED")
    assert eventually(
        lambda: unknown in [(r.token, r.method, r.outcome) for r in house.store.audit.list(5)], 20
    )
    kept = [house.server.log, *house.server.data_dir.rglob("*")]
    contents = {path: path.read_bytes() for path in kept if path.is_file()}
    assert len(house.secrets) > 5
    for secret in house.secrets:
        parsed = tokens.parse(secret)
        assert parsed is not None
        assert not [path for path, content in contents.items() if parsed[1].encode() in content]
