"""Every task of the mission, from a file to an answer, through a real server."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import seedbed
from tests.e2e.conftest import serve

GENERATOR_SEED = 5


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seedbed.Client]:
    with (
        serve(tmp_path_factory.mktemp("tasks") / "data") as server,
        seedbed.connect(server.address) as connected,
    ):
        yield connected


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def wav(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((samples * 20_000).astype("<i2").tobytes())
    return file.getvalue()


def scored(job: seedbed.Job, at_least: float) -> seedbed.Model:
    """The model of a job whose test score is good."""
    score = job.test_score
    assert score is not None
    assert score.value >= at_least, score
    model = job.model()
    assert score.metric in {one.metric for one in model.info.test_scores}
    return model


def test_masks_come_back_as_masks(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    for number in range(40):
        picture = random.integers(0, 60, (32, 48, 3), dtype=np.uint8)
        mask = np.zeros((32, 48), dtype=np.uint8)
        top, left = random.integers(0, 16), random.integers(0, 24)
        picture[top : top + 14, left : left + 20, number % 2] += 190
        mask[top : top + 14, left : left + 20] = 1 + number % 2
        for folder, content in (("images", picture), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number:02}.png").write_bytes(png(content))
    job = client.train(
        "segmentation",
        tmp_path,
        budget="1trials",
        search_space={"architecture": "unet", "epochs": 12, "resolution": 96},
        seed=1,
    )
    model = scored(job, 0.5)
    assert {"dice", "iou of 1", "iou of 2"} <= {score.metric for score in model.info.test_scores}
    (answer,) = model.predict([{"image": (tmp_path / "images/00.png").read_bytes()}])
    assert isinstance(answer, seedbed.Segmentation)
    mask = np.asarray(Image.open(io.BytesIO(answer.mask_png)))
    overlay = Image.open(io.BytesIO(answer.overlay_png))
    assert mask.shape == (32, 48) and overlay.size == (48, 32)
    assert set(np.unique(mask)) <= {0, 1, 2}
    assert sum(answer.shares.values()) == pytest.approx(1.0)


def test_sounds_are_told_apart(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    for name, pitch in (("high", 1200), ("low", 300)):
        (tmp_path / name).mkdir()
        for number in range(25):
            rate = int(random.choice([8_000, 16_000]))
            time = np.arange(int(rate * random.uniform(0.3, 0.6))) / rate
            tone = np.sin(2 * np.pi * pitch * random.uniform(0.9, 1.1) * time)
            noisy = tone * 0.6 + random.normal(0, 0.1, len(time))
            (tmp_path / name / f"{number}.wav").write_bytes(wav(noisy.clip(-1, 1), rate))
    (tmp_path / "high" / "broken.wav").write_bytes(b"RIFF\x00\x00")
    job = client.train("audio_classification", tmp_path, budget="2trials", seed=1)
    looked_at = client.inspect(job.info.dataset)
    assert {"audio", "spectrogram"} <= looked_at.samples[0].keys()
    spectrogram = looked_at.samples[0]["spectrogram"]
    assert isinstance(spectrogram, bytes)
    assert Image.open(io.BytesIO(spectrogram)).format == "PNG"
    assert "high/broken.wav" in " ".join(f.message for f in job.info.findings)
    model = scored(job, 0.9)
    (answer,) = model.predict([{"audio": (tmp_path / "low" / "3.wav").read_bytes()}])
    assert answer.value == "low"


def test_texts_get_a_class_or_labels(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    words = {"sport": "goal match team win", "food": "soup bread taste cook"}
    rows = []
    for number in range(200):
        topic = ("sport", "food")[number % 2]
        said = [*random.choice(words[topic].split(), 6).tolist(), "and", "the"]
        labels = "|".join(sorted({topic, "soup" if "soup" in said else "other"}))
        rows.append({"text": " ".join(said), "topic": topic, "labels": labels})
    table = pd.DataFrame(rows)
    table[["text", "topic"]].to_csv(tmp_path / "topics.csv", index=False)
    table[["text", "labels"]].to_csv(tmp_path / "labels.csv", index=False)
    space = {"architecture": "tfidf_linear"}
    job = client.train(
        "text_classification", tmp_path / "topics.csv", budget="1trials", search_space=space
    )
    (answer,) = scored(job, 0.95).predict([{"text": "they cook bread"}])
    assert answer.value == "food"
    job = client.train(
        "text_multilabel",
        tmp_path / "labels.csv",
        target="labels",
        budget="1trials",
        search_space=space,
    )
    (answer,) = scored(job, 0.8).predict([{"text": "soup soup bread taste cook soup"}])
    assert isinstance(answer, seedbed.MultiLabel)
    assert set(answer.labels) == {"food", "soup"}


def test_a_user_gets_what_she_has_not_seen(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    rows = []
    for user in range(60):
        for item in random.permutation(30)[:14].tolist():
            likes = (user % 2) == (item % 2)
            rating = float(np.clip(random.normal(4.3 if likes else 2.0, 0.4), 1, 5).round(1))
            rows.append({"userId": user, "movieId": item, "rating": rating, "timestamp": len(rows)})
    ratings = pd.DataFrame(rows)
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    genres = ["Drama|War" if item % 2 else "Comedy" for item in range(31)]
    movies = pd.DataFrame({"movieId": range(31), "genres": genres})
    movies.to_csv(tmp_path / "movies.csv", index=False)
    job = client.train(
        "collaborative_filtering",
        tmp_path / "ratings.csv",
        tables={"items": tmp_path / "movies.csv"},
        budget="4trials",
        seed=1,
    )
    assert job.test_score is not None and job.test_score.metric == "rmse"
    assert job.test_score.value < 1.1
    baselines = {t.architecture for t in job.trials() if t.baseline}
    assert {"global_mean", "bias_only"} <= baselines
    model = job.model()
    known, new, pair, similar = model.predict(
        [{"userId": 4}, {"userId": "nobody"}, {"userId": 4, "movieId": 2}, {"movieId": 2}]
    )
    assert isinstance(known, seedbed.Ranking) and isinstance(similar, seedbed.Ranking)
    seen = set(ratings[ratings.userId == 4].movieId.astype(str))
    assert known.items and not seen & set(known.value)
    assert isinstance(new, seedbed.Ranking) and new.items
    assert isinstance(pair, seedbed.Regression) and 1.0 <= pair.value <= 5.0
    with pytest.raises(seedbed.InvalidArgument, match="userId"):
        model.predict([{}])


def test_series_are_told_apart(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    rows, labels = [], []
    for number in range(80):
        place = random.integers(5, 30)
        series = random.normal(0, 0.3, 40)
        series[place : place + 5] += 2.0 if number % 2 else -2.0
        rows.append(series)
        labels.append("up" if number % 2 else "down")
    table = pd.DataFrame(rows, columns=[f"t{i}" for i in range(40)]).assign(label=labels)
    table.to_csv(tmp_path / "series.csv", index=False)
    job = client.train(
        "time_series_classification",
        tmp_path / "series.csv",
        target="label",
        budget="1trials",
        search_space={"architecture": "rocket_linear"},
    )
    model = scored(job, 0.85)
    (answer,) = model.predict([table.drop(columns="label").iloc[1].to_dict()])
    assert answer.value == "up"


def test_several_targets_are_learned_at_once(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    table = pd.DataFrame({"a": random.normal(size=200), "b": random.normal(size=200)})
    table["sign"] = np.where(table.a > 0, "plus", "minus")
    table["sum"] = table.a + 2 * table.b
    table.to_csv(tmp_path / "two.csv", index=False)
    job = client.train(
        "tabular",
        tmp_path / "two.csv",
        target="sign,sum",
        budget="1trials",
        search_space={"architecture": "linear"},
    )
    (answer,) = scored(job, 0.9).predict([{"a": 1.5, "b": -1.0}])
    assert isinstance(answer, seedbed.MultiTarget)
    assert answer.targets["sign"].value == "plus"
    assert answer.targets["sum"].value == pytest.approx(-0.5, abs=0.3)


def test_pictures_get_labels_and_numbers(client: seedbed.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(GENERATOR_SEED)
    rows = []
    for number in range(60):
        red, blue = random.integers(0, 2, 2)
        pixels = random.integers(0, 40, (16, 16, 3), dtype=np.uint8)
        pixels[:8, :, 0] += np.uint8(200 * red)
        pixels[8:, :, 2] += np.uint8(200 * blue)
        (tmp_path / f"{number}.png").write_bytes(png(pixels))
        labels = "|".join(n for n, there in (("red", red), ("blue", blue)) if there)
        rows.append({"file": f"{number}.png", "labels": labels, "redness": pixels[..., 0].mean()})
    table = pd.DataFrame(rows)
    space = {"architecture": "small_convnet", "epochs": 15}
    # Guessing the mean would be off by the standard deviation.
    for task, target, limit in (
        ("image_multilabel", "labels", 0.8),
        ("image_regression", "redness", 0.5 * table["redness"].std()),
    ):
        table[["file", target]].to_csv(tmp_path / "table.csv", index=False)
        job = client.train(
            task, tmp_path, target=target, budget="1trials", search_space=space, seed=1
        )
        score = job.test_score
        assert score is not None
        assert score.value > limit if score.metric == "macro_f1" else score.value < limit, score
        (answer,) = job.model().predict([{"image": (tmp_path / "0.png").read_bytes()}])
        expected = seedbed.MultiLabel if target == "labels" else seedbed.Regression
        assert isinstance(answer, expected)
