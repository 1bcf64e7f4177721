"""Sounds."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.file_bytes import Unusable, item_name
from seedbed_sdk.blocks.sound import LogMel, SoundInfo, read_excerpt, read_info
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

MIN_RATE = 2_000
MAX_RATE = 16_000
MIN_SECONDS = 0.1
MAX_SECONDS = 10.0
COVERED = 0.95
MAX_FRAMES = 320
LOOKED_AT = 512
MAX_THREADS = 8
MELS = 64
MELS_BELOW_WIDEBAND = 40
WIDEBAND = 12_000
PREVIEW_FRAMES = 640
PREVIEW_SCALE = 2


class AudioBlock(InputBlock):
    """A column of sound files, as FileRefs or bytes, in any format that libsndfile reads (WAV,
    FLAC, OGG, MP3, …), of any rate, length and number of channels.

    Encoded as `image`: uint8 [N, mels, frames, 1], the log-mel spectrogram of the sound mixed to
    one channel, as `LogMel` makes it. `rate` is the median rate of the training sounds, at most
    16 kHz. `length` is how many samples are looked at: 95 % of the training sounds are no longer,
    at most 10 seconds; of a longer one the loudest stretch is taken.
    """

    type: ClassVar[str] = "audio"
    becomes: ClassVar[str] = "image"
    natural = False

    def __init__(self, column: str = "audio", rate: int = 0, length: int = 0) -> None:
        self.column = column
        self.rate = rate
        self.length = length

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def fields(self) -> tuple[Field, ...]:
        return (Field(self.column, "audio"),)

    @property
    def spectrogram(self) -> LogMel:
        """How the sounds of a fitted block become pictures."""
        mels = MELS if self.rate >= WIDEBAND else MELS_BELOW_WIDEBAND
        return LogMel(self.rate, self.length, mels, MAX_FRAMES)

    def fit(self, items: pd.DataFrame) -> None:
        if self.length:
            return
        positions = np.linspace(0, len(items) - 1, min(LOOKED_AT, len(items))).astype(int)
        infos: list[SoundInfo] = []
        reasons = []
        for position in dict.fromkeys(positions.tolist()):
            value = items[self.column].iloc[position]
            try:
                infos.append(read_info(value))
            except Unusable as error:
                reasons.append(f"{item_name(value, position)}: {error}")
        if not infos:
            raise InvalidArgument(
                "job.dataset",
                f"none of {len(reasons)} training sounds that were looked at can be read: "
                f"{'; '.join(reasons[:3])}",
                reason="NO_READABLE_AUDIO",
            )
        self.rate = int(np.clip(np.median([info.rate for info in infos]), MIN_RATE, MAX_RATE))
        seconds = float(np.quantile([info.frames / info.rate for info in infos], COVERED))
        self.length = round(float(np.clip(seconds, MIN_SECONDS, MAX_SECONDS)) * self.rate)

    def encode(self, items: pd.DataFrame) -> Encoded:
        values = list(items[self.column])
        spectrogram = self.spectrogram
        shape = (len(values), spectrogram.mels, spectrogram.frames, 1)
        images = np.zeros(shape, dtype=np.uint8)

        def decode(position: int) -> ItemProblem | None:
            value = values[position]
            try:
                samples = read_excerpt(value, self.rate, self.length)
            except Unusable as error:
                return ItemProblem(position, item_name(value, position), str(error))
            images[position, :, :, 0] = spectrogram.picture(samples)
            return None

        with ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1)) as pool:
            found = pool.map(decode, range(len(values)))
        return Encoded({"image": images}, [problem for problem in found if problem is not None])

    def state(self) -> dict[str, Any]:
        return {"column": self.column, "rate": self.rate, "length": self.length}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> AudioBlock:
        return cls(state["column"], state["rate"], state["length"])


def spectrogram_png(data: bytes) -> bytes:
    """A picture of a sound file for people, PNG: its log-mel spectrogram in colours, at most 640
    pixels wide, of the whole sound or its loudest ten seconds.

    Raises InvalidArgument where the file cannot be read as a sound.
    """
    from PIL import Image

    try:
        info = read_info(data)
        rate = int(np.clip(info.rate, MIN_RATE, MAX_RATE))
        seconds = min(info.frames / info.rate, MAX_SECONDS)
        length = round(max(seconds, MIN_SECONDS) * rate)
        samples = read_excerpt(data, rate, length)
    except Unusable as error:
        raise InvalidArgument("", f"no spectrogram: {error}", reason="UNUSABLE_AUDIO") from error
    levels = LogMel(rate, length, MELS, PREVIEW_FRAMES).picture(samples)
    stops = np.linspace(0, 255, 4)
    colours = ((0, 90, 240, 255), (0, 20, 110, 250), (30, 120, 90, 200))
    channels = [np.interp(levels, stops, values) for values in colours]
    image = Image.fromarray(np.stack(channels, axis=2).round().astype(np.uint8))
    size = (min(PREVIEW_FRAMES, image.width * PREVIEW_SCALE), image.height * PREVIEW_SCALE)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(buffer, "PNG")
    return buffer.getvalue()
