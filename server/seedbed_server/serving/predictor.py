"""Opened models and their answers. Runs in the serving process, which keeps models open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from seedbed_sdk.blocks.base import MultiTarget, Prediction
from seedbed_sdk.bundle import Predictor, open_bundle
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.trainer import Hardware

MAX_OPEN = 8
_open: OrderedDict[str, Predictor] = OrderedDict()


@cache
def _registry() -> Registry:
    return load()


def _predictor(bundle: str) -> Predictor:
    """The opened bundle; the least recently used of more than eight leave."""
    if bundle in _open:
        _open.move_to_end(bundle)
        return _open[bundle]
    predictor = open_bundle(Path(bundle), _registry(), Hardware())
    _open[bundle] = predictor
    while len(_open) > MAX_OPEN:
        _open.popitem(last=False)
    return predictor


def predict(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Answers `examples`, mappings of column to raw value, with the model in folder `bundle`."""
    predictions = _predictor(payload["bundle"]).predict(payload["examples"])
    return {"predictions": [_plain(prediction) for prediction in predictions]}


def _plain(prediction: Prediction) -> dict[str, Any]:
    plain = {"kind": prediction.kind, **asdict(prediction)}
    if isinstance(prediction, MultiTarget):
        plain["targets"] = [(target, _plain(part)) for target, part in prediction.targets]
    return plain
