"""Predictions from their protos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from seedbed import types as t
from seedbed.converters import optional
from seedbed.v1 import predictions_pb2

_P = predictions_pb2.Prediction


def prediction(message: predictions_pb2.Prediction) -> t.Prediction:
    """A Prediction."""
    kind = message.WhichOneof("kind")
    if kind is None:
        raise ValueError("the server answered with a kind of prediction this client does not know")
    return _PREDICTIONS[kind](getattr(message, kind))


def _probabilities(pairs: Iterable[_P.ClassProbability]) -> dict[str, float]:
    return {pair.label: pair.probability for pair in pairs}


def _classification(message: _P.Classification) -> t.Classification:
    return t.Classification(message.label, _probabilities(message.probabilities))


def _regression(message: _P.Regression) -> t.Regression:
    interval = (optional(message, key) for key in ("lower", "upper", "confidence"))
    return t.Regression(message.value, *interval)


def _multi_label(message: _P.MultiLabel) -> t.MultiLabel:
    return t.MultiLabel(tuple(message.labels), _probabilities(message.probabilities))


def _segmentation(message: _P.Segmentation) -> t.Segmentation:
    shares = {pair.label: pair.share for pair in message.shares}
    return t.Segmentation(message.mask_png, message.overlay_png, shares)


def _ranking(message: _P.Ranking) -> t.Ranking:
    return t.Ranking(tuple((item.item, item.score) for item in message.items))


def _multi_target(message: _P.MultiTarget) -> t.MultiTarget:
    return t.MultiTarget(
        {
            part.target: _classification(part.classification)
            if part.HasField("classification")
            else _regression(part.regression)
            for part in message.targets
        }
    )


_PREDICTIONS: Mapping[str, Callable[[Any], t.Prediction]] = {
    "classification": _classification,
    "regression": _regression,
    "multi_label": _multi_label,
    "segmentation": _segmentation,
    "ranking": _ranking,
    "multi_target": _multi_target,
}
