"""Sounds: any format, rate, length and channels in, spectrograms out, bad ones named."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from seedbed_sdk.blocks import AudioBlock, file_bytes
from seedbed_sdk.blocks.audio import spectrogram_png
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import FailedPrecondition, InvalidArgument

RATE = 8_000


def tone(frequency: float = 1_000.0, seconds: float = 0.5, rate: int = RATE) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate) / 2


def encoded(
    samples: NDArray[np.float64], rate: int = RATE, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def items(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"audio": pd.Series(list(values), dtype=object)})


def fitted() -> AudioBlock:
    return AudioBlock(rate=RATE, length=RATE // 2)


def picture(value: object) -> NDArray[np.uint8]:
    result = fitted().encode(items(value))
    assert not result.problems
    return np.asarray(result.arrays["image"][0, :, :, 0])


def test_rate_and_length_are_those_of_the_training_sounds_within_limits() -> None:
    block = AudioBlock()
    block.fit(items(*[encoded(tone(seconds=s)) for s in (0.2, 0.3, 0.4)]))
    assert block.rate == RATE
    assert 0.38 * RATE < block.length <= 0.4 * RATE
    block = AudioBlock()
    block.fit(items(encoded(tone(seconds=11, rate=44_100), rate=44_100)))
    assert (block.rate, block.length) == (16_000, 160_000)
    image = block.encode(items(encoded(tone()))).arrays["image"]
    assert image.shape == (1, 64, 320, 1) and image.dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("FLAC", None), ("OGG", "VORBIS")],
)
@pytest.mark.parametrize("rate", [4_000, 8_000, 22_050])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_is_in_the_same_place_whatever_the_file(
    kind: str, subtype: str | None, rate: int, channels: int
) -> None:
    samples = np.stack([tone(rate=rate)] * channels, axis=1)
    levels = picture(encoded(samples, rate, kind, subtype))[:, 10:-10].mean(axis=1)
    expected = picture(encoded(tone()))[:, 10:-10].mean(axis=1)
    assert abs(int(levels.argmax()) - int(expected.argmax())) <= 1
    assert levels.max() > 240


def test_high_tones_are_at_the_top_and_loudness_does_not_matter() -> None:
    low, high = picture(encoded(tone(300))), picture(encoded(tone(3_000)))
    assert high.mean(axis=1).argmax() < low.mean(axis=1).argmax()
    quiet = picture(encoded(tone(300) / 50, subtype="FLOAT"))
    np.testing.assert_allclose(quiet.astype(int), low.astype(int), atol=2)


def test_a_short_sound_stands_in_the_middle_and_a_long_one_shows_its_loudest_part() -> None:
    levels = picture(encoded(tone(seconds=0.1)))
    sounding = np.flatnonzero(levels.any(axis=0))
    middle = levels.shape[1] / 2
    assert abs((sounding[0] + sounding[-1]) / 2 - middle) <= 2 and len(sounding) < middle
    silence = np.zeros(3 * RATE)
    late = picture(encoded(np.concatenate([silence, tone(), silence])))
    assert late.any(axis=0).mean() > 0.9


@pytest.mark.parametrize("seconds", [1 / RATE, 0.01, 0.5])
def test_silence_and_single_samples_are_sounds_too(seconds: float) -> None:
    count = max(1, round(seconds * RATE))
    assert not picture(encoded(np.zeros(count))).any()
    assert picture(encoded(np.full(count, 0.5))).shape == (40, 50)


def bad_floats(value: float) -> bytes:
    samples = tone()
    samples[100] = value
    return encoded(samples, subtype="FLOAT")


def absent() -> bytes:
    raise FileNotFoundError(2, "no such file in the dataset", "gone.wav")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"just some text, no sound", "not a sound file in a known format"),
        (b"", "the file is empty"),
        (b"RIFF\x00\x00\x00\x00WAVE", "not a sound file in a known format"),
        (encoded(np.zeros(0)), "the sound has a length of zero"),
        (bad_floats(np.nan), "it holds NaN or infinite samples"),
        (bad_floats(np.inf), "it holds NaN or infinite samples"),
        ("cat.wav", "expected the bytes of a sound file, got str 'cat.wav'"),
        (None, "expected the bytes of a sound file, got nothing"),
        (FileRef("gone.wav", absent), "cannot be read: no such file in the dataset"),
    ],
)
def test_what_is_no_sound_is_named_with_its_reason(value: object, reason: str) -> None:
    result = fitted().encode(items(encoded(tone()), value))
    (problem,) = result.problems
    assert problem.position == 1
    assert problem.reason.startswith(reason)
    assert result.arrays["image"][0].any() and not result.arrays["image"][1].any()


def test_damaged_flac_is_a_problem_or_what_can_be_decoded_of_it() -> None:
    whole = bytearray(encoded(tone(seconds=2), kind="FLAC"))
    whole[len(whole) // 2 : len(whole) // 2 + 4_000] = bytes(4_000)
    result = fitted().encode(items(bytes(whole), bytes(whole[:500])))
    assert {p.position for p in result.problems} <= {0, 1}
    assert all(p.reason for p in result.problems)


def test_length_channels_and_size_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    long = encoded(np.zeros(4_000 * 10), rate=10)
    many = encoded(np.zeros((10, 65)))
    problems = fitted().encode(items(long, many)).problems
    assert problems[0].reason.startswith("40000 samples at 10 Hz; at most 32000000 samples and")
    assert problems[1].reason == "65 channels; at most 64 are mixed"
    monkeypatch.setattr(file_bytes, "MAX_FILE_BYTES", 100)
    (problem,) = fitted().encode(items(encoded(tone()))).problems
    assert problem.reason.endswith("bytes; at most 100 are read")


def test_a_header_that_lies_about_its_length_costs_no_memory() -> None:
    lying = bytearray(encoded(tone()))
    lying[40:44] = (2**31 - 2).to_bytes(4, "little")
    lying[4:8] = (2**31 - 2 + 36).to_bytes(4, "little")
    result = fitted().encode(items(bytes(lying)))
    assert result.arrays["image"].nbytes < 10_000


def test_no_readable_sound_at_all_is_an_error_with_examples() -> None:
    with pytest.raises(InvalidArgument) as caught:
        AudioBlock().fit(items(b"text", b""))
    assert caught.value.message == (
        "job.dataset: none of 2 training sounds that were looked at can be read: row 0: not a "
        "sound file in a known format, such as WAV, FLAC or OGG; row 1: the file is empty"
    )


def test_state_survives_and_encodes_the_same() -> None:
    block = AudioBlock("clip", 16_000, 9_000)
    again = AudioBlock.from_state(block.state())
    assert (again.column, again.rate, again.length) == ("clip", 16_000, 9_000)
    value = pd.DataFrame({"clip": pd.Series([encoded(tone())], dtype=object)})
    np.testing.assert_array_equal(
        block.encode(value).arrays["image"], again.encode(value).arrays["image"]
    )


@pytest.mark.parametrize(("rate", "length"), [(2_000, 200), (8_000, 80_000), (16_000, 1_600)])
def test_every_mel_band_hears_something(rate: int, length: int) -> None:
    filters = AudioBlock(rate=rate, length=length).spectrogram.filters
    assert (filters.sum(axis=0) > 0).all()


def test_the_preview_is_a_picture_of_the_tone() -> None:
    data = spectrogram_png(encoded(tone(seconds=1.0)))
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert pixels.shape == (128, 200, 3)
    assert pixels.sum(axis=2).max() > 2 * pixels.sum(axis=2).mean()
    with pytest.raises(InvalidArgument, match="no spectrogram: not a sound file"):
        spectrogram_png(b"nothing of the kind")


def test_files_are_read_once_each_to_encode() -> None:
    reads: list[str] = []

    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            reads.append(name)
            return encoded(tone())

        return read

    refs = [FileRef(f"{i}.wav", reader(f"{i}.wav")) for i in range(5)]
    fitted().encode(items(*refs))
    assert sorted(reads) == [ref.name for ref in refs]


def test_without_soundfile_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(FailedPrecondition, match=r"install seedbed\[audio\] where the server runs"):
        spectrogram_png(b"RIFF")
