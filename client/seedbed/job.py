"""A job's handle: its state, its events, its trials and its model."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc

from seedbed import converters, insight_converters
from seedbed.budget import parse_budget
from seedbed.connection import Connection
from seedbed.errors import FailedPrecondition, JobFailed, Unavailable, from_rpc_error, from_status
from seedbed.insights import JobInsights
from seedbed.model import Model
from seedbed.types import Budget, Event, JobInfo, JobState, Score, Trial
from seedbed.v1 import jobs_pb2, models_pb2

if TYPE_CHECKING:
    from types import TracebackType

# The server sends something at least every 10 s; after this long its silence is a fault.
SILENCE_SECONDS = 30.0
# A watch is asked for again after this long, since a call without a deadline can hang for ever.
_WATCH_SECONDS = 3600.0
# A server that stays away for longer is given up.
_AWAY_SECONDS = 120.0
_LONGEST_PAUSE = 3.0
_PAGE = 1000

# Statuses of a stream that broke rather than being refused.
_BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


class Job:
    """A search on the server. The properties are of the last answer; `refresh` asks again."""

    def __init__(self, connection: Connection, message: jobs_pb2.Job) -> None:
        self._connection = connection
        self._message = message
        self.info: JobInfo = converters.job(message)

    def __repr__(self) -> str:
        return f"<seedbed.Job {self.id} {self.state}>"

    @property
    def name(self) -> str:
        """`projects/{project}/jobs/{job}`."""
        return self.info.name

    @property
    def id(self) -> str:
        """The short name."""
        return self.info.id

    @property
    def state(self) -> JobState:
        """As of the last answer."""
        return self.info.state

    @property
    def validation_score(self) -> Score | None:
        """The best trial's score so far."""
        return self.info.validation_score

    @property
    def test_score(self) -> Score | None:
        """The chosen model's score on the test split; None until the job has succeeded."""
        return self.info.test_score

    def refresh(self) -> Job:
        """Asks the server how the job is, and returns the job itself."""
        request = jobs_pb2.GetJobRequest(name=self.name)
        return self._update(self._connection.call(lambda s: s.jobs.GetJob, request))

    def stop(self) -> Job:
        """Ends the search and keeps the best model so far; `wait` for the end as usual."""
        request = jobs_pb2.StopJobRequest(name=self.name)
        return self._update(self._connection.call(lambda s: s.jobs.StopJob, request))

    def cancel(self) -> Job:
        """Ends the job at once; no model is kept."""
        request = jobs_pb2.CancelJobRequest(name=self.name)
        return self._update(self._connection.call(lambda s: s.jobs.CancelJob, request))

    def extend(
        self,
        budget: str | Budget,
        progress: Callable[[Event], None] | None = None,
        *,
        detach: bool = False,
    ) -> Job:
        """Gives the ended job more budget, such as `60s` or `10trials`, and returns the job itself,
        at its end unless `detach`. Its trials are not repeated, and its model stays unless a better
        one is found. `progress` is called with each event since.

        Raises FailedPrecondition for a job that runs or was cancelled, and as `wait` does.
        """
        limits = parse_budget(budget) if isinstance(budget, str) else budget
        after = self.refresh().info.last_sequence
        request = jobs_pb2.ExtendJobRequest(
            name=self.name, budget=converters.budget_to_proto(limits)
        )
        self._update(self._connection.call(lambda s: s.jobs.ExtendJob, request))
        return self if detach else self.wait(progress, after)

    def replay(
        self, progress: Callable[[Event], None] | None = None, *, detach: bool = False
    ) -> Job:
        """Trains the job's model once more, in a new job, which is returned at its end unless
        `detach`: its `info.replay` says whether the weights are identical.

        Raises FailedPrecondition where there is no model, and as `wait` does.
        """
        request = jobs_pb2.ReplayJobRequest(name=self.name, request_id=str(uuid.uuid4()))
        message = self._connection.call(lambda s: s.jobs.ReplayJob, request)
        replay = Job(self._connection, message)
        return replay if detach else replay.wait(progress)

    def insights(self) -> JobInsights:
        """How the search went, up to now where it runs: the learning curve, what the time went
        into, which hyperparameters mattered, and what twice the budget would bring.

        Raises FailedPrecondition for a replay, which searches nothing.
        """
        request = jobs_pb2.GetJobInsightsRequest(name=self.name)
        answer = self._connection.call(lambda s: s.jobs.GetJobInsights, request, slow=True)
        return insight_converters.insights(answer)

    def delete(self) -> None:
        """Deletes the ended job with its trials; its model stays."""
        request = jobs_pb2.DeleteJobRequest(name=self.name)
        self._connection.call(lambda s: s.jobs.DeleteJob, request)

    def _update(self, message: jobs_pb2.Job) -> Job:
        self._message = message
        self.info = converters.job(message)
        return self

    def trials(self, order_by: str = "") -> list[Trial]:
        """The leaderboard: all trials, the best first, or by `number`."""
        found: list[Trial] = []
        token = ""
        while True:
            request = jobs_pb2.ListTrialsRequest(
                parent=self.name, page_size=_PAGE, page_token=token, order_by=order_by
            )
            page = self._connection.call(lambda s: s.jobs.ListTrials, request)
            found += map(converters.trial, page.trials)
            token = page.next_page_token
            if not token:
                return found

    def model(self) -> Model:
        """The model the job found. FailedPrecondition where there is none (yet)."""
        if not self.info.model:
            self.refresh()
        if not self.info.model:
            hint = "it ended without one" if self.state.ended else "wait() for its end"
            raise FailedPrecondition(
                f"job {self.id} is {self.state} and has no model: {hint}",
                "FAILED_PRECONDITION",
                "NO_MODEL",
            )
        request = models_pb2.GetModelRequest(name=self.info.model)
        message = self._connection.call(lambda s: s.models.GetModel, request)
        return Model(self._connection, message)

    def wait(self, progress: Callable[[Event], None] | None = None, after: int = 0) -> Job:
        """Waits for the job's end and returns the job itself.

        `progress` is called with each event numbered above `after`. A job that was cancelled
        returns too, with that state; one that failed raises JobFailed.
        """
        for event in self.watch(after):
            if progress is not None:
                progress(event)
        return self.refresh().raise_if_failed()

    def raise_if_failed(self) -> Job:
        """The job itself, or JobFailed where it failed."""
        if self.state is JobState.FAILED:
            raise JobFailed(self, from_status(self._message.error))
        return self

    def watch(self, after: int = 0) -> Iterator[Event]:
        """What happened after event number `after`, then what happens, until the job has ended.

        Each event comes once: after a broken connection, a restart of the server or 30 s of
        silence the watch goes on from the last number. Raises Unavailable where the server stays
        away for 2 minutes.
        """
        cursor = after
        heard = time.monotonic()
        pause = 0.1
        while True:
            with _Watch(self._connection, self.name, cursor) as watch:
                for message in watch:
                    heard, pause = time.monotonic(), 0.1
                    event = converters.event(message)
                    fresh = message.sequence > cursor
                    cursor = max(cursor, message.sequence)
                    if event is None or not fresh:
                        continue
                    yield event
            if watch.error is None:
                # The stream ended in good order without the end: there may be none after `after`.
                heard = time.monotonic()
                if self.refresh().state.ended and cursor >= self.info.last_sequence:
                    return
            elif watch.error.code() not in _BROKEN or time.monotonic() - heard > _AWAY_SECONDS:
                raise from_rpc_error(watch.error, self._connection.address) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            # An embedded server that was killed goes on where it was once it is back.
            self._connection.revive()


class _Watch:
    """One WatchJob stream, read by a thread so that silence can be noticed.

    After the iteration `error` is what broke the stream, or None where it ended in good order.
    """

    def __init__(self, connection: Connection, name: str, after: int) -> None:
        self.error: grpc.RpcError | None = None
        self._messages: queue.SimpleQueue[jobs_pb2.JobEvent | grpc.RpcError | None]
        self._messages = queue.SimpleQueue()
        if connection.closed:
            raise Unavailable("the client is closed; open another with seedbed.connect()")
        request = jobs_pb2.WatchJobRequest(name=name, after_sequence=after)
        self._call = connection.stubs.jobs.WatchJob(request, timeout=_WATCH_SECONDS)
        self._thread = threading.Thread(target=self._pump, name="seedbed-watch", daemon=True)

    def _pump(self) -> None:
        try:
            for message in self._call:
                self._messages.put(message)
        except grpc.RpcError as error:
            self._messages.put(error)
        else:
            self._messages.put(None)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()
        with contextlib.suppress(RuntimeError):
            self._thread.join(timeout=5)

    def __iter__(self) -> Iterator[jobs_pb2.JobEvent]:
        while True:
            try:
                item = self._messages.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                # The pump then reports CANCELLED, which counts as broken.
                self._call.cancel()
                continue
            if item is None:
                return
            if isinstance(item, grpc.RpcError):
                self.error = item
                return
            yield item
