"""The client: what one can ask of a seedbed server."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from google.protobuf import struct_pb2

from seedbed import converters
from seedbed.budget import parse_budget
from seedbed.connection import Connection, check_address
from seedbed.constraints import parse_latency, parse_size
from seedbed.credentials import Credentials, load_credentials
from seedbed.data import resolve_sources, with_tables
from seedbed.embedded import EmbeddedServer
from seedbed.errors import SeedbedError, invalid
from seedbed.job import Job
from seedbed.job_parts import JobPlan
from seedbed.model import Model
from seedbed.server_status import ServerStatus, server_status
from seedbed.space import as_domain
from seedbed.types import Budget, Dataset, Event, Inspection, PluginProblem, Task
from seedbed.v1 import datasets_pb2, jobs_pb2, models_pb2, server_pb2, tasks_pb2
from seedbed.values import to_duration, to_struct

Data = str | Path | Dataset | Sequence[str | Path]

_PAGE = 200
# An embedded server loads what the installed plugins need before it is ready.
_START_SECONDS = 60.0
# An idle server is gone well within this; only one that hangs is left behind.
_EXIT_SECONDS = 15.0
_CALLS_TIMED = 3
_UNFINISHED = "QUEUED", "PREPARING", "SEARCHING", "FINISHING"


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


PageT = TypeVar("PageT", bound=_Page)


def connect(
    server: str | None = None,
    *,
    data_dir: Path | str | None = None,
    timeout: float = 30.0,
    on_start: Callable[[Path], None] | None = None,
    token: str | None = None,
    token_file: Path | str | None = None,
    tls: bool | None = None,
    tls_ca: Path | str | None = None,
    tls_cert: Path | str | None = None,
    tls_key: Path | str | None = None,
    project: str | None = None,
) -> Client:
    """A client of the server at `server` (`HOST:PORT` or `unix:PATH`), else `SEEDBED_SERVER`.

    With neither it uses an embedded server on `data_dir`, else `SEEDBED_DATA_DIR`, else the
    platform's user data folder: one that runs there already, or one that it starts, after calling
    `on_start` with the folder. A server that was started ends once the client is closed and its
    jobs are done. `timeout` is the deadline of a call in seconds.

    `token`, or the one in `token_file`, says who calls; it is never sent unencrypted to another
    machine. `tls_ca` is a PEM file with who signed the server's certificate, `tls` alone means a
    public authority, `tls_cert` and `tls_key` are the caller's own. `project` is where things are
    made and looked for, by default the first of the token's, or `default`. Each has a variable such
    as `SEEDBED_TOKEN` or `SEEDBED_TLS_CA`.

    Raises Unavailable where no server answers, FailedPrecondition where none can be started,
    InvalidArgument for files that will not do.
    """
    if timeout <= 0:
        raise invalid("timeout", f"must be above 0 s, got {timeout:g}")
    address = server or os.environ.get("SEEDBED_SERVER")
    credentials = load_credentials(
        token=token,
        token_file=token_file,
        tls=tls,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        project=project,
    )
    if address:
        connection = Connection(check_address(address), timeout, credentials)
        try:
            connection.check_answers()
        except BaseException:
            connection.close()
            raise
        return Client(connection)
    embedded = EmbeddedServer(_data_dir(data_dir), max(timeout, _START_SECONDS), on_start)
    # On a socket, or loopback, where certificates have no part.
    local = Credentials(credentials.token, project=credentials.project)
    return Client(Connection(embedded.ensure(), timeout, local, embedded))


def _data_dir(given: Path | str | None) -> Path:
    chosen = given or os.environ.get("SEEDBED_DATA_DIR")
    if chosen:
        return Path(chosen)
    import platformdirs  # Only here is it needed, and a client starts faster without.

    return platformdirs.user_data_path("seedbed")


class Client:
    """A connection to a seedbed server; a context manager. Safe to use from several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def server(self) -> str:
        """The server's address."""
        return self._connection.address

    @property
    def data_dir(self) -> Path | None:
        """The embedded server's data directory; None for any other server."""
        embedded = self._connection.embedded
        return embedded.data_dir if embedded else None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. An embedded server that this client started ends with it, unless
        it has unfinished jobs: then it lives until they are done."""
        if self._connection.closed:
            return
        embedded = self._connection.embedded
        # Only a server that says it has nothing to do is waited for.
        busy = True
        try:
            if embedded is not None and embedded.started and embedded.alive():
                with contextlib.suppress(SeedbedError):
                    busy = self._has_unfinished_jobs()
        finally:
            # Also after Ctrl-C in between.
            self._connection.close()
            if embedded is not None:
                embedded.close(0 if busy else _EXIT_SECONDS)

    def _has_unfinished_jobs(self) -> bool:
        for state in _UNFINISHED:
            request = jobs_pb2.ListJobsRequest(page_size=1, filter=f"state = {state}")
            if self._connection.call(lambda s: s.jobs.ListJobs, request).jobs:
                return True
        return False

    # The server

    def answer_seconds(self) -> float:
        """Seconds of the fastest of a few calls that ask only whether the server is there."""
        taken = []
        for _ in range(_CALLS_TIMED):
            began = time.perf_counter()
            self._connection.check_answers()
            taken.append(time.perf_counter() - began)
        return min(taken)

    def server_status(self) -> ServerStatus:
        """How the server and its machine are; it takes up to about half a minute to look."""
        request = server_pb2.GetServerStatusRequest()
        call = self._connection.call
        return server_status(call(lambda s: s.server.GetServerStatus, request, slow=True))

    # Tasks

    def tasks(self) -> list[Task]:
        """The installed tasks."""
        return [converters.task(t) for page in self._task_pages() for t in page.tasks]

    def plugin_problems(self) -> list[PluginProblem]:
        """The plugins that were found and could not be used."""
        return [
            PluginProblem(p.plugin, p.package, p.message)
            for page in self._task_pages()
            for p in page.problems
        ]

    def _task_pages(self) -> Iterator[tasks_pb2.ListTasksResponse]:
        return _pages(
            lambda token: self._connection.call(
                lambda s: s.tasks.ListTasks,
                tasks_pb2.ListTasksRequest(page_size=_PAGE, page_token=token),
            )
        )

    def task(self, name: str) -> Task:
        """One task. NotFound names those there are."""
        request = tasks_pb2.GetTaskRequest(name=name)
        return converters.task(self._connection.call(lambda s: s.tasks.GetTask, request))

    # Datasets

    def create_dataset(
        self,
        data: Data,
        test: Data | None = None,
        *,
        valid: Data | None = None,
        tables: Mapping[str, str | Path | Dataset] | None = None,
        layout: str = "",
        query: str = "",
        display_name: str = "",
    ) -> Dataset:
        """Registers data: a URI, a file, a folder, several of them, or a dataset's name.

        `test` is data to score the final model with, `valid` data to choose it by. `tables`
        describe what the items refer to, by role: `{"items": "movies.csv"}`. `layout` says what the
        data is to be read as where the server's guess would be wrong. `query` is the SELECT for a
        database. Local files that the server cannot read itself are uploaded. A dataset given alone
        is returned as it is.
        """
        # Side tables may stand beside the items without a role, so that several sources stay open.
        said = "TRAIN" if (test or valid) and _is_one(data) else ""
        sources = resolve_sources(self._connection, data, said, "data")
        for split, more in (("VALID", valid), ("TEST", test)):
            if more:
                sources += resolve_sources(self._connection, more, split, split.lower())
        if tables or query:
            sources = with_tables(self._connection, sources, tables or {}, query)
        if len(sources) == 1 and sources[0].uri.startswith("projects/") and not layout:
            return self.dataset(sources[0].uri)
        dataset = datasets_pb2.Dataset(
            display_name=display_name,
            sources=map(converters.source_to_proto, sources),
            layout=layout,
        )
        request = datasets_pb2.CreateDatasetRequest(dataset=dataset, request_id=str(uuid.uuid4()))
        message = self._connection.call(lambda s: s.datasets.CreateDataset, request, slow=True)
        return converters.dataset(message)

    def dataset(self, name: str) -> Dataset:
        """One dataset, by its name or short id."""
        request = datasets_pb2.GetDatasetRequest(name=name)
        return converters.dataset(self._connection.call(lambda s: s.datasets.GetDataset, request))

    def datasets(self) -> list[Dataset]:
        """All datasets, the newest first."""
        pages = _pages(
            lambda token: self._connection.call(
                lambda s: s.datasets.ListDatasets,
                datasets_pb2.ListDatasetsRequest(page_size=_PAGE, page_token=token),
            )
        )
        return [converters.dataset(d) for page in pages for d in page.datasets]

    def delete_dataset(self, dataset: Dataset | str) -> None:
        """Deletes a dataset and what was uploaded for it."""
        name = dataset.name if isinstance(dataset, Dataset) else dataset
        request = datasets_pb2.DeleteDatasetRequest(name=name)
        self._connection.call(lambda s: s.datasets.DeleteDataset, request)

    def inspect(self, dataset: Dataset | str, target: str | None = None) -> Inspection:
        """What a dataset (or its name) is understood to hold, and the tasks that fit it."""
        name = dataset.name if isinstance(dataset, Dataset) else dataset
        request = datasets_pb2.InspectDatasetRequest(name=name, target=target or "")
        answer = self._connection.call(lambda s: s.datasets.InspectDataset, request, slow=True)
        return converters.inspection(answer)

    # Jobs

    def train(
        self,
        task: str,
        data: Data,
        *,
        target: str | None = None,
        test: Data | None = None,
        valid: Data | None = None,
        tables: Mapping[str, str | Path | Dataset] | None = None,
        layout: str = "",
        query: str = "",
        budget: str | Budget = "60s",
        metric: str | None = None,
        options: Mapping[str, object] | None = None,
        search_space: Mapping[str, object] | None = None,
        seed: int | None = None,
        starting_points: Sequence[Mapping[str, object]] = (),
        ignore_earlier_jobs: bool | None = None,
        max_latency: str | float | None = None,
        max_size: str | int | None = None,
        display_name: str = "",
        find_learning_rate: bool = False,
        progress: Callable[[Event], None] | None = None,
        detach: bool = False,
    ) -> Job:
        """Searches for the best model within the budget, such as `60s` or `20trials`.

        What says where the data is, from `data` to `query`, is as in `create_dataset`.
        `search_space` narrows or fixes hyperparameters: `{"learning_rate": "1e-4..1e-2",
        "epochs": 5}`. `starting_points` are tried right after the baselines: `[{"architecture":
        "tabm", "learning_rate": 0.01}]`; what one leaves out is the architecture's default. Then
        come the best settings of earlier jobs on similar data, unless `ignore_earlier_jobs`, which
        is the default with a `seed` and a budget without seconds: then the same trials come again,
        whatever else the server has done. `max_latency` (such as `5ms`, or seconds) limits the time
        in which the model answers one example on a processor, `max_size` (such as `20MB`, or bytes)
        that of its files: trials that are measured to take more are not chosen.
        `find_learning_rate` has a short test look for each network's learning rate. `progress` is
        called with each event.
        Waits for the end unless `detach`; then `Job.wait` does.

        Raises InvalidArgument with one violation per field that will not do, and JobFailed where
        the job started and failed.
        """
        job = _wanted_job(
            task,
            target,
            budget,
            metric,
            options,
            search_space,
            seed,
            starting_points,
            ignore_earlier_jobs,
            max_latency,
            max_size,
        )
        job.find_learning_rate = find_learning_rate
        dataset = self.create_dataset(
            data, test, valid=valid, tables=tables, layout=layout, query=query
        )
        job.dataset, job.display_name = dataset.name, display_name
        request = jobs_pb2.CreateJobRequest(job=job, request_id=str(uuid.uuid4()))
        created = self._connection.call(lambda s: s.jobs.CreateJob, request, slow=True)
        handle = Job(self._connection, created)
        return handle if detach else handle.wait(progress)

    def plan(
        self,
        task: str,
        data: Data,
        *,
        target: str | None = None,
        test: Data | None = None,
        valid: Data | None = None,
        tables: Mapping[str, str | Path | Dataset] | None = None,
        layout: str = "",
        query: str = "",
        budget: str | Budget = "60s",
        metric: str | None = None,
        options: Mapping[str, object] | None = None,
        search_space: Mapping[str, object] | None = None,
        seed: int | None = None,
        starting_points: Sequence[Mapping[str, object]] = (),
        ignore_earlier_jobs: bool | None = None,
        max_latency: str | float | None = None,
        max_size: str | int | None = None,
    ) -> JobPlan:
        """What `train` would do with the same arguments: which trials come first, and how many
        seconds and how much memory it would take, measured by training for a moment. With
        `max_latency` or `max_size` also which architectures miss them.

        The data is registered and prepared, which it need not be again then. Takes up to about a
        minute where there are many architectures. Raises InvalidArgument as `train` does.
        """
        job = _wanted_job(
            task,
            target,
            budget,
            metric,
            options,
            search_space,
            seed,
            starting_points,
            ignore_earlier_jobs,
            max_latency,
            max_size,
        )
        dataset = self.create_dataset(
            data, test, valid=valid, tables=tables, layout=layout, query=query
        )
        job.dataset = dataset.name
        request = jobs_pb2.PlanJobRequest(job=job)
        answer = self._connection.call(lambda s: s.jobs.PlanJob, request, slow=True)
        return converters.plan(answer)

    def job(self, name: str) -> Job:
        """One job, by its name or short id."""
        request = jobs_pb2.GetJobRequest(name=name)
        return Job(self._connection, self._connection.call(lambda s: s.jobs.GetJob, request))

    def jobs(self, filter: str = "") -> list[Job]:
        """All jobs, the newest first; `filter` is such as `state = SUCCEEDED`."""
        pages = _pages(
            lambda token: self._connection.call(
                lambda s: s.jobs.ListJobs,
                jobs_pb2.ListJobsRequest(page_size=_PAGE, page_token=token, filter=filter),
            )
        )
        return [Job(self._connection, job) for page in pages for job in page.jobs]

    # Models

    def model(self, name: str) -> Model:
        """One model, by its name or short id."""
        request = models_pb2.GetModelRequest(name=name)
        return Model(self._connection, self._connection.call(lambda s: s.models.GetModel, request))

    def models(self) -> list[Model]:
        """All models, the newest first."""
        pages = _pages(
            lambda token: self._connection.call(
                lambda s: s.models.ListModels,
                models_pb2.ListModelsRequest(page_size=_PAGE, page_token=token),
            )
        )
        return [Model(self._connection, model) for page in pages for model in page.models]


def _wanted_job(
    task: str,
    target: str | None,
    budget: str | Budget,
    metric: str | None,
    options: Mapping[str, object] | None,
    search_space: Mapping[str, object] | None,
    seed: int | None,
    starting_points: Sequence[Mapping[str, object]],
    ignore_earlier_jobs: bool | None,
    max_latency: str | float | None,
    max_size: str | int | None,
) -> jobs_pb2.Job:
    """A job as it is asked for, but for its dataset. Raises InvalidArgument."""
    limits = parse_budget(budget) if isinstance(budget, str) else budget
    job = jobs_pb2.Job(
        task=task,
        target=target or "",
        options=to_struct(options or {}),
        metric=metric or "",
        budget=converters.budget_to_proto(limits),
        seed=seed,
        starting_points=_points(starting_points),
        ignore_earlier_jobs=ignore_earlier_jobs,
        search_space={
            name: converters.domain_to_proto(as_domain(value, name), f"search_space[{name!r}]")
            for name, value in (search_space or {}).items()
        },
    )
    if max_latency is not None:
        job.constraints.max_latency.CopyFrom(to_duration(parse_latency(max_latency)))
    if max_size is not None:
        job.constraints.max_size_bytes = parse_size(max_size)
    return job


def _points(points: Sequence[Mapping[str, object]]) -> Iterator[struct_pb2.Struct]:
    """Raises InvalidArgument for what is no list of mappings."""
    if isinstance(points, Mapping | str):
        raise invalid("starting_points", f"must be a list of mappings, got {points!r}")
    for index, point in enumerate(points):
        field = f"starting_points[{index}]"
        if not isinstance(point, Mapping):
            raise invalid(field, f"must be a mapping of names to values, got {point!r}")
        yield to_struct(point, field)


def _is_one(data: Data) -> bool:
    return isinstance(data, str | Path | Dataset) or len(data) == 1


def _pages(fetch: Callable[[str], PageT]) -> Iterator[PageT]:
    token = ""
    while True:
        page = fetch(token)
        yield page
        token = page.next_page_token
        if not token:
            return
