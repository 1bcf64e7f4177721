"""Predictions as the API process sees them: models in use, and the process that answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from seedbed_sdk.errors import FailedPrecondition, NotFound
from seedbed_server.executors.call_pool import CallPool
from seedbed_server.jobs.values import Model
from seedbed_server.store import Files, Store
from seedbed_server.telemetry.metrics import Metrics


class PredictionFront:
    """Counts the predictions under way, so that a model in use is not deleted under them."""

    def __init__(
        self, calls: CallPool, store: Store, files: Files, metrics: Metrics, *, timeout: float
    ) -> None:
        self._calls = calls
        self._store = store
        self._files = files
        self._metrics = metrics
        self._timeout = timeout
        self._in_use: Counter[str] = Counter()
        self._going: set[str] = set()

    async def predict(
        self, model: Model, examples: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """One prediction for each example, as `predictor.predict` returns them.

        Raises InvalidArgument for rows that do not suit the model, Unavailable where the serving
        process died, NotFound for a model that is being deleted.
        """
        if model.id in self._going:
            raise NotFound(f"there is no model {model.id!r}; it was just deleted")
        payload = {"bundle": str(self._files.model(model.folder)), "examples": list(examples)}
        began = time.perf_counter()
        self._in_use[model.id] += 1
        try:
            answer = await self._calls.call("predict", payload, timeout=self._timeout)
        finally:
            self._in_use[model.id] -= 1
        self._metrics.predicted(len(examples), time.perf_counter() - began)
        return list(answer["predictions"])

    async def delete(self, model: Model) -> None:
        """Deletes a model and its files. Raises FailedPrecondition while a prediction with it is
        under way; NotFound where another caller was faster."""
        if self._in_use[model.id]:
            raise FailedPrecondition(
                f"model {model.id!r} is answering a prediction; try again when it is done",
                reason="MODEL_IN_USE",
                metadata={"model": model.id},
            )
        async with self._leaving(model.id):
            await asyncio.to_thread(self._store.models.delete, model.id)
            await asyncio.to_thread(self._files.delete_model, model.folder)

    @asynccontextmanager
    async def _leaving(self, model_id: str) -> AsyncIterator[None]:
        self._going.add(model_id)
        try:
            yield
        finally:
            self._going.discard(model_id)
