"""Data items and predictions between messages and plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from seedbed.v1 import datasets_pb2, predictions_pb2, values_pb2
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api import names
from seedbed_server.api.convert import split_to_message, timestamp

_P = predictions_pb2.Prediction


def examples_from_messages(examples: Iterable[values_pb2.Example]) -> list[dict[str, Any]]:
    """Items as plain data. Raises InvalidArgument for a value of no kind."""
    return [
        {
            key: _value_from_message(value, f'examples[{index}].fields["{key}"]')
            for key, value in example.fields.items()
        }
        for index, example in enumerate(examples)
    ]


def _value_from_message(value: values_pb2.Value, field: str) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument(field, "has no value; a missing value is a null_value")
    if kind == "null_value":
        return None
    if kind == "timestamp_value":
        try:
            return value.timestamp_value.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise InvalidArgument(field, f"is not a time: {error}") from error
    if kind == "list_value":
        return [_value_from_message(v, field) for v in value.list_value.values]
    return getattr(value, kind)


def value_to_message(value: Any) -> values_pb2.Value:
    """Plain data as a typed value."""
    message = values_pb2.Value()
    if value is None:
        message.null_value = 0  # type: ignore[assignment]
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int):
        message.int64_value = value
    elif isinstance(value, float):
        message.double_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, bytes):
        message.bytes_value = value
    elif isinstance(value, datetime):
        message.timestamp_value.CopyFrom(timestamp(value))  # type: ignore[arg-type]
    else:
        message.list_value.values.extend(value_to_message(v) for v in value)
    return message


def prediction_to_message(prediction: Mapping[str, Any]) -> predictions_pb2.Prediction:
    """A prediction as `predict` returns it."""
    kind = prediction["kind"]
    return predictions_pb2.Prediction(**{kind: _KINDS[kind](prediction)})


def _probabilities(pairs: Iterable[tuple[str, float]]) -> list[_P.ClassProbability]:
    return [_P.ClassProbability(label=label, probability=p) for label, p in pairs]


def _classification(prediction: Mapping[str, Any]) -> _P.Classification:
    return _P.Classification(
        label=prediction["label"], probabilities=_probabilities(prediction["probabilities"])
    )


def _regression(prediction: Mapping[str, Any]) -> _P.Regression:
    known = {k: prediction.get(k) for k in ("lower", "upper", "confidence")}
    return _P.Regression(
        value=prediction["value"], **{k: v for k, v in known.items() if v is not None}
    )


def _multi_label(prediction: Mapping[str, Any]) -> _P.MultiLabel:
    return _P.MultiLabel(
        labels=prediction["labels"], probabilities=_probabilities(prediction["probabilities"])
    )


def _segmentation(prediction: Mapping[str, Any]) -> _P.Segmentation:
    return _P.Segmentation(
        mask_png=prediction["mask_png"],
        overlay_png=prediction["overlay_png"],
        shares=[_P.ClassShare(label=label, share=share) for label, share in prediction["shares"]],
    )


def _ranking(prediction: Mapping[str, Any]) -> _P.Ranking:
    items = [_P.RankedItem(item=item, score=score) for item, score in prediction["items"]]
    return _P.Ranking(items=items)


def _multi_target(prediction: Mapping[str, Any]) -> _P.MultiTarget:
    return _P.MultiTarget(
        targets=[
            _P.TargetPrediction(target=target, **{part["kind"]: _KINDS[part["kind"]](part)})
            for target, part in prediction["targets"]
        ]
    )


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "classification": _classification,
    "regression": _regression,
    "multi_label": _multi_label,
    "segmentation": _segmentation,
    "ranking": _ranking,
    "multi_target": _multi_target,
}


def inspection_to_message(found: Mapping[str, Any]) -> datasets_pb2.InspectDatasetResponse:
    """What `inspect` returns."""
    finding = datasets_pb2.Finding
    return datasets_pb2.InspectDatasetResponse(
        layout=found["layout"],
        splits=[
            datasets_pb2.SplitSummary(
                split=split_to_message(s["split"]), item_count=s["item_count"]
            )
            for s in found["splits"]
        ],
        columns=[datasets_pb2.Column(**column) for column in found["columns"]],
        classes=[datasets_pb2.ClassCount(**count) for count in found["classes"]],
        target=found["target"],
        samples=[
            values_pb2.Example(fields={k: value_to_message(v) for k, v in sample.items()})
            for sample in found["samples"]
        ],
        findings=[
            finding(**{**f, "severity": finding.Severity.Value(f["severity"])})
            for f in found["findings"]
        ],
        tasks=[names.task(task.removeprefix("tasks/")) for task in found["tasks"]],
        content=found["content"],
        guesses=[datasets_pb2.Guess(**guess) for guess in found["guesses"]],
        tables=[datasets_pb2.SideTable(**table) for table in found["tables"]],
    )
