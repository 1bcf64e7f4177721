"""Reading sound files within bounds, and log-mel spectrograms."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.file_bytes import Unusable, file_bytes
from seedbed_sdk.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FRAMES = 32_000_000
MAX_SECONDS = 3_600
MAX_CHANNELS = 64
FRAMES_AT_ONCE = 2**18
SILENCE = 1e-5
LOUDNESS_STEPS = 64


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What the header says: samples a second, samples a channel, channels."""

    rate: int
    frames: int
    channels: int


def read_info(value: object) -> SoundInfo:
    """The header of a FileRef or of bytes, nothing decoded. Raises Unusable."""
    with _open(value) as sound:
        return _checked(sound)


def read_excerpt(value: object, rate: int, length: int) -> Array:
    """The loudest stretch of a sound: float32 [at most `length`], mono, at `rate`, scaled so that
    the sound's peak is 1. A sound that is no longer than `length` comes whole; a silent one is all
    zeros. Raises Unusable.
    """
    from scipy.signal import resample_poly

    with _open(value) as sound:
        info = _checked(sound)
        mono = np.concatenate(list(_blocks(sound)))
    if not len(mono):
        raise Unusable("the file ends before the first sample")
    if not np.isfinite(mono).all():
        raise Unusable("it holds NaN or infinite samples")
    peak = float(np.abs(mono).max())
    if peak < SILENCE:
        return np.zeros(min(length, max(1, len(mono) * rate // info.rate)), dtype=np.float32)
    excerpt = _loudest(mono / np.float32(peak), max(1, round(length * info.rate / rate)))
    if info.rate != rate:
        common = int(np.gcd(rate, info.rate))
        excerpt = resample_poly(excerpt, rate // common, info.rate // common)
    return np.ascontiguousarray(excerpt[:length], dtype=np.float32)


def _open(value: object) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise FailedPrecondition(
            "sounds cannot be read here, since soundfile is not installed; install "
            "seedbed[audio] where the server runs",
            reason="PACKAGE_NOT_INSTALLED",
        ) from error

    data = file_bytes(value, "sound")
    try:
        return soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise Unusable("not a sound file in a known format, such as WAV, FLAC or OGG") from error


def _checked(sound: Any) -> SoundInfo:
    info = SoundInfo(int(sound.samplerate), int(sound.frames), int(sound.channels))
    if info.frames <= 0:
        raise Unusable("the sound has a length of zero")
    if info.channels > MAX_CHANNELS:
        raise Unusable(f"{info.channels} channels; at most {MAX_CHANNELS} are mixed")
    if info.frames > MAX_FRAMES or info.frames > MAX_SECONDS * info.rate:
        raise Unusable(
            f"{info.frames} samples at {info.rate} Hz; at most {MAX_FRAMES} samples and "
            f"{MAX_SECONDS} seconds are decoded"
        )
    return info


def _blocks(sound: Any) -> Iterator[Array]:
    """The sound mixed to one channel, float32, a part at a time so that the channels of a long file
    are never all in memory; no more than the header said."""
    import soundfile

    yield np.zeros(0, dtype=np.float32)
    left = int(sound.frames)
    while left > 0:
        try:
            block = sound.read(min(FRAMES_AT_ONCE, left), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise Unusable(f"damaged {sound.format} file: {error}") from error
        if not len(block):
            return
        left -= len(block)
        yield block.mean(axis=1)


def _loudest(mono: Array, length: int) -> Array:
    """The stretch of `length` samples with the most energy, on a grid of a few places."""
    if len(mono) <= length:
        return mono
    energy = np.concatenate([[0.0], np.cumsum(mono.astype(np.float64) ** 2)])
    step = max(1, length // LOUDNESS_STEPS)
    starts = np.unique(np.append(np.arange(0, len(mono) - length, step), len(mono) - length))
    best = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    return mono[best : best + length]


@dataclass(frozen=True)
class LogMel:
    """Log-mel spectrograms as pictures: time runs to the right, low tones are at the bottom.

    The samples are a mono float array with a peak of 1. Each picture is uint8 [mels, frames] with
    255 for the loudest point of the clip and 0 for what is `RANGE_DB` or more below it, so that how
    loud a recording is does not matter. A short clip stands in the middle, with silence around.
    """

    rate: int
    length: int
    mels: int
    max_frames: int
    filters: Array = field(init=False, repr=False)

    RANGE_DB = 60.0
    HOP_SECONDS = 0.01
    WINDOW_SECONDS = 0.025

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _mel_filters(self.rate, self.transform, self.mels))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: longer for long clips, to bound the picture."""
        return max(1, round(self.HOP_SECONDS * self.rate), -(-self.length // self.max_frames))

    @property
    def frames(self) -> int:
        """Width of the pictures."""
        return max(1, -(-self.length // self.hop))

    @property
    def window(self) -> int:
        """Samples a frame is computed from."""
        return max(16, round(self.WINDOW_SECONDS / self.HOP_SECONDS * self.hop))

    @property
    def transform(self) -> int:
        """Length of the Fourier transform: the power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()

    def picture(self, samples: Array) -> Array:
        """uint8 [mels, frames]; all zeros where the samples are."""
        picture = np.zeros((self.mels, self.frames), dtype=np.uint8)
        if not samples.any():
            return picture
        half = self.window // 2
        padded = np.pad(samples, (half, self.window))
        count = min(self.frames, -(-len(samples) // self.hop))
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop][:count]
        spectrum = np.fft.rfft(frames * np.hanning(self.window), self.transform, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2) @ self.filters
        decibels = 10.0 * np.log10(np.maximum(power, 1e-30))
        relative = 1.0 + (decibels - decibels.max()) / self.RANGE_DB
        left = (self.frames - count) // 2
        picture[:, left : left + count] = np.round(255.0 * np.clip(relative, 0.0, 1.0)).T[::-1]
        return picture


def _mel_filters(rate: int, transform: int, mels: int) -> Array:
    """Triangles that are evenly spaced on the mel scale (O'Shaughnessy 1987): float64
    [transform / 2 + 1, mels]. Where they are narrower than the spectrum's resolution, the nearest
    frequencies are weighed, so that none is empty."""
    frequencies = np.fft.rfftfreq(transform, 1.0 / rate)
    top = 2595.0 * np.log10(1.0 + rate / 2 / 700.0)
    centres = 700.0 * (10.0 ** (np.linspace(0.0, top, mels + 2) / 2595.0) - 1.0)
    resolution = frequencies[1]
    rising = np.maximum(centres[1:-1] - centres[:-2], resolution)
    falling = np.maximum(centres[2:] - centres[1:-1], resolution)
    distance = frequencies[:, None] - centres[None, 1:-1]
    share = np.where(distance < 0, -distance / rising, distance / falling)
    return np.asarray(np.maximum(0.0, 1.0 - share))
