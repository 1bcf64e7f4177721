"""Time series."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.series_images import MAX_CHANNELS, bin_means, images_of
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

MIN_LENGTH = 8
MAX_LENGTH = 1_024
MAX_VALUES = 1_000_000
LARGEST = 1e30
LOOKED_AT = 2_000
CLIPPED_AT = 1_000.0
SMALLEST_STD = 1e-12
ROUNDING = 1e-9
IMAGES_AT_ONCE = 256
SEPARATORS = re.compile(r"[\s,;]+")


class SeriesBlock(InputBlock):
    """Series of numbers over time. If `wide`, the columns are the successive values of a series of
    one channel; else each column is a channel and holds lists of numbers (or text of numbers with
    spaces or commas between them), equally long in a row.

    Missing values are interpolated; those at both ends, missing in all channels, are cut off, which
    is how short series stand in a wide table. Every series is then resampled to `length` values,
    the median length of the training series, at most 1,024. Encoded as

    - `series`: float32 [N, channels, length], standard scores by the channel's `means` and `stds`
      over the training series or, if `per_series`, over the series itself;
    - `image`: uint8 [N, side, side, 3], as `images_of` makes it.
    """

    type: ClassVar[str] = "series"
    becomes: ClassVar[str] = "image"
    natural = False

    def __init__(
        self,
        columns: Sequence[str],
        *,
        wide: bool,
        per_series: bool = False,
        length: int = 0,
        means: Sequence[float] = (),
        stds: Sequence[float] = (),
        ignored: Mapping[str, str] | None = None,
    ) -> None:
        self.names = tuple(columns)
        self.wide = wide
        self.per_series = per_series
        self.length = length
        self.means = tuple(means)
        self.stds = tuple(stds)
        self.ignored = dict(ignored or {})

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    @property
    def channels(self) -> int:
        """How many values there are at a time."""
        return 1 if self.wide else len(self.names)

    def fields(self) -> tuple[Field, ...]:
        return tuple(Field(name, "numeric" if self.wide else "series") for name in self.names)

    def fit(self, items: pd.DataFrame) -> None:
        if self.channels > MAX_CHANNELS:
            raise InvalidArgument(
                "job.dataset",
                f"the series have {self.channels} channels; at most {MAX_CHANNELS} are possible",
                reason="TOO_MANY_CHANNELS",
            )
        positions = np.linspace(0, len(items) - 1, min(LOOKED_AT, len(items))).astype(int)
        found, problems = self._read(items.iloc[np.unique(positions)])
        usable = [series for series in found if series is not None]
        if not usable:
            raise InvalidArgument(
                "job.dataset",
                f"none of {len(problems)} training series that were looked at can be used: "
                f"{'; '.join(f'{p.name}: {p.reason}' for p in problems[:3])}",
                reason="NO_USABLE_SERIES",
            )
        lengths = [series.shape[1] for series in usable]
        self.length = int(np.clip(np.median(lengths), MIN_LENGTH, MAX_LENGTH))
        values = np.concatenate(usable, axis=1)
        known = ~np.isnan(values).all(axis=1)
        values[~known] = 0.0
        means, stds = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
        self.means = tuple(means.tolist())
        self.stds = tuple(_divisors(stds, means).tolist())

    def encode(self, items: pd.DataFrame) -> Encoded:
        found, problems = self._read(items)
        series = np.zeros((len(found), self.channels, self.length), dtype=np.float32)
        for position, values in enumerate(found):
            if values is not None:
                series[position] = self._standardised(_resampled(values, self.length))
        parts = [
            images_of(series[start : start + IMAGES_AT_ONCE])
            for start in range(0, max(1, len(series)), IMAGES_AT_ONCE)
        ]
        images = np.concatenate(parts)
        images[[problem.position for problem in problems]] = 0
        return Encoded({"series": series, "image": images}, problems)

    def state(self) -> dict[str, Any]:
        return {
            "columns": list(self.names),
            "wide": self.wide,
            "per_series": self.per_series,
            "length": self.length,
            "means": list(self.means),
            "stds": list(self.stds),
            "ignored": dict(self.ignored),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SeriesBlock:
        return cls(**{name: value for name, value in state.items() if name != "type"})

    def _read(self, items: pd.DataFrame) -> tuple[list[Array | None], list[ItemProblem]]:
        """Float64 [channels, values] of each item, None where it is a problem. NaN stands for what
        is missing in a channel all along."""
        rows = _wide_rows(items, self.names) if self.wide else _listed_rows(items, self.names)
        found: list[Array | None] = []
        problems = []
        for position, row in enumerate(rows):
            try:
                found.append(_clean(row))
            except _Unusable as error:
                found.append(None)
                name = f"row {items.index[position]}"
                problems.append(ItemProblem(position, name, str(error)))
        return found, problems

    def _standardised(self, values: Array) -> Array:
        if self.per_series:
            mean = values.mean(axis=1)
            std = _divisors(values.std(axis=1), mean)
        else:
            mean, std = np.array(self.means), np.array(self.stds)
        scores = (values - mean[:, None]) / std[:, None]
        return np.asarray(np.clip(np.nan_to_num(scores), -CLIPPED_AT, CLIPPED_AT))


class _Unusable(Exception):
    """Says of a series why it cannot be used."""


def parse_series(value: object) -> Array | None:
    """A list, an array or text of numbers as float64 [values], with NaN for None; None where it is
    nothing of the kind."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = json.loads(text) if text.startswith("[") else SEPARATORS.split(text)
        except ValueError:
            return None
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    try:
        array = np.asarray([np.nan if v is None else v for v in value], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim == 1 else None


def _wide_rows(items: pd.DataFrame, names: Sequence[str]) -> list[Array | _Unusable]:
    import pandas as pd

    columns = items[list(names)]
    numbers = columns.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(numbers) & columns.notna().to_numpy()
    rows: list[Array | _Unusable] = [row[None] for row in numbers]
    for position, column in zip(*np.nonzero(wrong), strict=True):
        given = str(columns.iat[int(position), int(column)])[:40]
        rows[position] = _Unusable(f"{given!r} in column {names[column]!r} is no number")
    return rows


def _listed_rows(items: pd.DataFrame, names: Sequence[str]) -> list[Array | _Unusable]:
    return [_channels(row, names) for row in zip(*(items[name] for name in names), strict=True)]


def _channels(values: Sequence[object], names: Sequence[str]) -> Array | _Unusable:
    channels = []
    for name, value in zip(names, values, strict=True):
        channel = parse_series(value)
        if channel is None:
            return _Unusable(f"column {name!r} holds {str(value)[:40]!r}, not a list of numbers")
        channels.append(channel)
    lengths = sorted({len(channel) for channel in channels})
    if len(lengths) > 1:
        return _Unusable(f"its channels have {lengths[0]} and {lengths[-1]} values, not as many")
    return np.stack(channels)


def _clean(row: Array | _Unusable) -> Array:
    """Without missing values, but for channels that are missing altogether."""
    if isinstance(row, _Unusable):
        raise row
    if row.shape[1] > MAX_VALUES:
        raise _Unusable(f"it has {row.shape[1]} values; at most {MAX_VALUES} are read")
    missing = np.isnan(row)
    if missing.all():
        raise _Unusable("it has no values")
    if not (np.abs(row[~missing]) <= LARGEST).all():
        raise _Unusable(f"it has values that are infinite or larger than {LARGEST:g}")
    if not missing.any():
        return row
    times = np.flatnonzero(~missing.all(axis=0))
    cut = row[:, times[0] : times[-1] + 1].copy()
    for channel in cut:
        known = np.flatnonzero(~np.isnan(channel))
        if 0 < len(known) < len(channel):
            channel[:] = np.interp(np.arange(len(channel)), known, channel[known])
    return cut


def _resampled(values: Array, length: int) -> Array:
    """[C, T] to [C, length]: means of stretches of a longer series, straight lines between the
    values of a shorter one."""
    count = values.shape[1]
    if count == length:
        return values
    if count > length:
        return bin_means(values, length)
    places = np.linspace(0, count - 1, length)
    return np.stack([np.interp(places, np.arange(count), channel) for channel in values])


def _divisors(stds: Array, means: Array) -> Array:
    """The standard deviations, 1 where one is no more than what rounding leaves of a constant."""
    return np.where(stds > SMALLEST_STD + ROUNDING * np.abs(means), stds, 1.0)
