"""Pictures of time series."""

from __future__ import annotations

import math

import numpy as np

from seedbed_sdk.blocks.base import Array

MAX_CHANNELS = 100
MAX_TILE = 64
MAX_SIDE = 160


def bin_means(values: Array, count: int) -> Array:
    """The means of `count` equal stretches along the last axis, which may begin and end between
    values: [..., T] to [..., count], as float64; `count` is at most T."""
    length = values.shape[-1]
    total = np.cumsum(values, axis=-1, dtype=np.float64)
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), total], axis=-1)
    borders = np.linspace(0, length, count + 1)
    left = np.minimum(borders.astype(np.int64), length - 1)
    at = total[..., left] + (borders - left) * (total[..., left + 1] - total[..., left])
    return np.asarray(np.diff(at, axis=-1) * (count / length))


def images_of(series: Array) -> Array:
    """Standardised series [N, C, L] to pictures uint8 [N, side, side, 3].

    The colours are the Gramian angular summation field, the difference field (Wang & Oates 2015),
    and a recurrence plot: exp(-distance) of the values at two times, which unlike the fields shows
    how large they are. Both axes are time, in at most 64 steps. Channels stand beside each other
    in a square of at most 160 pixels a side.
    """
    count, channels, length = series.shape
    across = math.ceil(math.sqrt(channels))
    tile = min(length, MAX_TILE, MAX_SIDE // across)
    images = np.zeros((count, across * tile, across * tile, 3), dtype=np.uint8)
    for channel in range(channels):
        row, column = divmod(channel, across)
        top, left = row * tile, column * tile
        images[:, top : top + tile, left : left + tile] = _fields(series[:, channel], tile)
    return images


def _fields(series: Array, side: int) -> Array:
    """[N, L] to uint8 [N, side, side, 3]."""
    values = bin_means(series, side)
    low = values.min(axis=1, keepdims=True)
    spread = values.max(axis=1, keepdims=True) - low
    flat = spread < 1e-9
    cosine = np.where(flat, 0.0, 2.0 * (values - low) / np.where(flat, 1.0, spread) - 1.0)
    sine = np.sqrt(np.maximum(0.0, 1.0 - cosine**2))
    summation = _pairs(cosine, cosine) - _pairs(sine, sine)
    difference = _pairs(sine, cosine) - _pairs(cosine, sine)
    recurrence = np.exp(-np.abs(values[:, :, None] - values[:, None, :]))
    levels = np.stack([(summation + 1.0) / 2.0, (difference + 1.0) / 2.0, recurrence], axis=3)
    return np.asarray(np.round(255.0 * np.clip(levels, 0.0, 1.0)), dtype=np.uint8)


def _pairs(first: Array, second: Array) -> Array:
    """Products of every value with every other: [N, S] and [N, S] to [N, S, S]."""
    return np.asarray(first[:, :, None] * second[:, None, :])
