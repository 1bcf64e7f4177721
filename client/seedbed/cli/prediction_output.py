"""Predictions as the terminal, JSON and tables show them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import seedbed
from seedbed.cli.output import number, say, table

SHARE = "probability of "
_SHOWN_ROWS = 20
_SHOWN_PARTS = 3


def as_json(prediction: seedbed.Prediction) -> dict[str, Any]:
    """One answer: `prediction`, and what is known of how sure it is. Pictures are base64."""
    match prediction:
        case seedbed.Regression():
            return {"prediction": prediction.value, **_json_interval(prediction)}
        case seedbed.Segmentation():
            return {
                "mask_png": base64.b64encode(prediction.mask_png).decode(),
                "overlay_png": base64.b64encode(prediction.overlay_png).decode(),
                "shares": dict(prediction.shares),
            }
        case seedbed.Ranking():
            ranked = [{"item": item, "score": score} for item, score in prediction.items]
            return {"prediction": [item for item, _ in prediction.items], "items": ranked}
        case seedbed.MultiTarget():
            return {"targets": {name: as_json(part) for name, part in prediction.targets.items()}}
        case seedbed.MultiLabel():
            labels = list(prediction.labels)
            return {"prediction": labels, "probabilities": dict(prediction.probabilities)}
        case seedbed.Classification():
            return {
                "prediction": prediction.label,
                "probabilities": dict(prediction.probabilities),
            }


def _json_interval(prediction: seedbed.Regression) -> dict[str, Any]:
    if prediction.lower is None or prediction.upper is None:
        return {}
    interval = [prediction.lower, prediction.upper]
    return {"interval": interval, "confidence": prediction.confidence}


def as_cells(prediction: seedbed.Prediction) -> dict[str, object]:
    """One answer as the cells of a table's row. Masks have no cell; their shares do."""
    match prediction:
        case seedbed.Regression():
            return {
                "prediction": prediction.value,
                "lower": prediction.lower,
                "upper": prediction.upper,
                "confidence": prediction.confidence,
            }
        case seedbed.Segmentation():
            return {f"share of {label}": share for label, share in prediction.shares.items()}
        case seedbed.Ranking():
            return {
                "prediction": "|".join(prediction.value),
                "scores": "|".join(f"{score:.6g}" for _, score in prediction.items),
            }
        case seedbed.MultiTarget():
            return {
                f"{name} {key}": cell
                for name, part in prediction.targets.items()
                for key, cell in as_cells(part).items()
            }
        case seedbed.MultiLabel():
            return {"prediction": "|".join(prediction.labels), **_shares(prediction.probabilities)}
        case seedbed.Classification():
            return {"prediction": prediction.label, **_shares(prediction.probabilities)}


def _shares(probabilities: Mapping[str, float]) -> dict[str, object]:
    return {f"{SHARE}{label}": p for label, p in probabilities.items()}


def show(labels: Sequence[str], predictions: Sequence[seedbed.Prediction]) -> None:
    """The first answers as a table."""
    if not predictions:
        say("no items")
        return
    rows = [
        [label, *_summary(prediction)]
        for label, prediction in list(zip(labels, predictions, strict=True))[:_SHOWN_ROWS]
    ]
    table([("item", "right"), "prediction", (_second_column(predictions[0]), "rest")], rows)
    if len(predictions) > len(rows):
        say(f"… and {len(predictions) - len(rows):,} more; --output FILE writes all")
    if isinstance(predictions[0], seedbed.Segmentation):
        say("--output FOLDER writes the masks and what they look like over the pictures")


def _second_column(prediction: seedbed.Prediction) -> str:
    match prediction:
        case seedbed.Regression() | seedbed.MultiTarget():
            return "interval"
        case seedbed.Segmentation():
            return "share of the pixels"
        case seedbed.Ranking():
            return "scores"
        case _:
            return "probability"


def _summary(prediction: seedbed.Prediction) -> tuple[str, str]:
    match prediction:
        case seedbed.Regression():
            return number(prediction.value), _interval(prediction)
        case seedbed.Segmentation():
            label = next(iter(prediction.shares), "")
            return f"mask, mostly {label}", _first(prediction.shares)
        case seedbed.Ranking():
            first = prediction.items[:_SHOWN_PARTS]
            return (
                ", ".join(item for item, _ in first),
                ", ".join(number(score) for _, score in first),
            )
        case seedbed.MultiTarget():
            parts = {name: _summary(part) for name, part in prediction.targets.items()}
            return (
                ", ".join(f"{name} {value}" for name, (value, _) in parts.items()),
                ", ".join(rest for _, rest in parts.values() if rest),
            )
        case seedbed.MultiLabel():
            return ", ".join(prediction.labels) or "none", _first(prediction.probabilities)
        case seedbed.Classification():
            return prediction.label, _first(prediction.probabilities)


def _first(shares: Mapping[str, float]) -> str:
    return "  ".join(f"{k} {p:.3f}" for k, p in list(shares.items())[:_SHOWN_PARTS])


def _interval(prediction: seedbed.Regression) -> str:
    if prediction.lower is None or prediction.upper is None:
        return ""
    share = f" ({100 * prediction.confidence:.0f} %)" if prediction.confidence else ""
    return f"{number(prediction.lower)} – {number(prediction.upper)}{share}"
