"""Text: the tasks find the texts, the encoder is the published one, every architecture learns and
can be taken away in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from seedbed_sdk import bundle
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.registry import load
from seedbed_sdk.testing import RecordingRun, task_contract
from seedbed_sdk.trainer import Blueprint, Data, Hardware, Interrupted, Trainer
from seedbed_text import encoders
from seedbed_text.catalogue import ARCHITECTURES
from seedbed_text.task import TextClassification, TextMultiLabel, TextRegression, TextTask

BY_NAME = {a.name: a for a in ARCHITECTURES}
ENCODED = ("frozen_encoder", "fine_tuned_encoder")
TOPICS = {
    "sport": ["team", "won", "match", "late", "goal", "striker", "referee", "league", "cup"],
    "food": ["cook", "onions", "butter", "salt", "soup", "oven", "bread", "sugar", "garlic"],
    "money": ["bank", "interest", "rates", "shares", "fell", "market", "loan", "profit", "tax"],
}
FAST = {"epochs": 3, "max_tokens": 64, "trained_layers": 2, "learning_rate": 5e-3, "width": 16}

needs_encoder = pytest.mark.skipif(
    not encoders.available(), reason="no sentence encoder is installed"
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def sentences(count: int = 90) -> pd.DataFrame:
    """Texts of random words of one topic each, with what the three tasks predict."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        topic = list(TOPICS)[index % len(TOPICS)]
        words = generator.choice(TOPICS[topic], 6)
        price = 10.0 * (index % len(TOPICS)) + generator.normal()
        tags = topic if index % 2 else f"{topic}|odd"
        text = " ".join(words) + ("" if index % 2 else " strange oddity")
        rows.append({"text": text, "label": topic, "tags": tags, "price": price})
    return pd.DataFrame(rows)


def only(*columns: str) -> Dataset:
    return Dataset.from_frame(sentences()[list(columns)])


TestTextClassification = task_contract(
    "text_classification", lambda: only("text", "label"), parameters=FAST
)
TestTextMultiLabel = task_contract(
    "text_multilabel", lambda: only("text", "tags"), target="tags", parameters=FAST
)
TestTextRegression = task_contract(
    "text_regression", lambda: only("text", "price"), target="price", parameters=FAST
)


def block_of(
    dataset: Dataset, target: str = "", task: TextTask | None = None, **options: Any
) -> DataBlock:
    task = task or TextClassification()
    return task.data_block(dataset, target, task.options(**options))


def prepared(dataset: Dataset) -> tuple[DataBlock, Data]:
    block = block_of(dataset)
    data = block.prepare(0)
    return block, Data(data.train, data.valid)


def build(name: str, block: DataBlock, **changes: object) -> Trainer:
    parameters = {**BY_NAME[name].portfolio[0], **changes}
    parameters = {k: v for k, v in parameters.items() if k in BY_NAME[name].space}
    return BY_NAME[name].build(Blueprint(block, parameters, Hardware(), 1))


# --- finding the texts ---------------------------------------------------------------------------


def test_the_column_of_free_text_is_found() -> None:
    block = block_of(Dataset.from_frame(sentences()[["label", "price", "text"]]), "label")
    assert block.inputs[0].columns == ("text",)
    short = pd.DataFrame({"word": ["good", "bad"] * 20, "label": ["up", "down"] * 20})
    assert block_of(Dataset.from_frame(short)).inputs[0].columns == ("word",)


def test_several_texts_need_a_name_and_may_be_joined() -> None:
    frame = (
        sentences()[["text", "label"]].rename(columns={"text": "a"}).assign(b=sentences()["text"])
    )
    with pytest.raises(InvalidArgument, match=r"text_column.*'a', 'b'"):
        block_of(Dataset.from_frame(frame), "label")
    block = block_of(Dataset.from_frame(frame), "label", text_column=["b", "a"])
    assert block.inputs[0].columns == ("b", "a")
    with pytest.raises(InvalidArgument, match="'c' is no column"):
        block_of(Dataset.from_frame(frame), "label", text_column="c")
    with pytest.raises(InvalidArgument, match="'label' is the target"):
        block_of(Dataset.from_frame(frame), "label", text_column="label")


def test_a_table_without_text_is_refused() -> None:
    frame = pd.DataFrame({"x": np.arange(20.0), "label": ["a", "b"] * 10})
    with pytest.raises(InvalidArgument, match="no column holds text"):
        block_of(Dataset.from_frame(frame))


def test_folders_of_text_files_are_read() -> None:
    frame = sentences(30)
    files = tuple(
        FileRef(f"{label}/{i}.txt", str(text).encode)
        for i, (text, label) in enumerate(zip(frame["text"], frame["label"], strict=True))
    )
    dataset = Dataset({"train": DataSplit(files=files)}, "class_folders", content="text")
    block, data = prepared(dataset)
    assert block.target.state()["classes"] == ["food", "money", "sport"]
    run = RecordingRun(METRICS["accuracy"], data.valid.target)
    build("tfidf_linear", block).fit(data, run)
    assert run.best_score == 1.0
    with pytest.raises(InvalidArgument, match="each text is a file"):
        block_of(dataset, text_column="text")


def test_targets_of_several_columns() -> None:
    frame = sentences()[["text"]].assign(a=[0, 1] * 45, b=[1, 1, 0] * 30)
    block = block_of(Dataset.from_frame(frame), "a,b", TextMultiLabel())
    assert block.prepare(0).train.target.shape[1] == 2
    for task in (TextClassification(), TextRegression()):
        with pytest.raises(InvalidArgument, match="several columns"):
            block_of(Dataset.from_frame(frame), "a,b", task)


def test_without_an_encoder_the_others_remain_and_a_note_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoders, "available", lambda: ())
    block = block_of(only("text", "label"))
    assert encoders.NOTHING_PRETRAINED in block.notes
    fitting = TextClassification().architectures(block, Hardware(), ARCHITECTURES)
    assert [a.name for a in fitting] == ["tfidf_linear", "bag_of_embeddings"]


# --- the encoder ---------------------------------------------------------------------------------


@needs_encoder
def test_encoder_computes_what_the_published_network_does() -> None:
    transformers = pytest.importorskip("transformers")
    folder = encoders._require(encoders.MINILM)
    theirs = transformers.AutoModel.from_pretrained(str(folder)).eval()
    tokens = encoders.Tokenizer(encoders.MINILM)(["A short one.", "", "喂 hello " * 40], 64)
    batch = {name: torch.from_numpy(array) for name, array in tokens.items()}
    assert batch["length"].tolist()[1:] == [2, 64]
    with torch.inference_mode():
        ours = encoders.load(encoders.MINILM)(batch)
        mask = (torch.arange(64) < batch["length"][:, None]).long()
        hidden = theirs(input_ids=batch["ids"].long(), attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(ours, mean, rtol=1e-4, atol=1e-5)


@needs_encoder
def test_vectors_do_not_depend_on_what_else_is_encoded() -> None:
    from seedbed_text.embeddings import Embeddings

    embeddings = Embeddings(encoders.MINILM, 64, "cpu")
    texts = ["one", "a much longer text " * 20, "", "one"]
    together = embeddings.transform(texts)
    alone = np.concatenate([embeddings.transform([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)


@needs_encoder
def test_vectors_are_computed_once_for_all_trials() -> None:
    block, data = prepared(only("text", "label"))
    messages = []
    for regularization in (0.1, 1.0):
        run = RecordingRun(METRICS["accuracy"], data.valid.target)
        build("frozen_encoder", block, regularization=regularization).fit(data, run)
        messages += run.messages
    assert len(messages) == 1 and "once" in messages[0]


@needs_encoder
def test_layers_are_unfrozen_from_the_last_on() -> None:
    from seedbed_sdk.learner import Callback, Learner

    block, data = prepared(only("text", "label"))
    trainer: Any = build("fine_tuned_encoder", block, epochs=10, trained_layers=2, max_tokens=64)
    seen: list[tuple[int, bool, bool]] = []

    class Watch(Callback):
        def after_step(self, learner: Learner) -> None:
            layers: Any = learner.network.encoder.layers  # type: ignore[union-attr]
            first, second = (next(layers[i].parameters()).requires_grad for i in (4, 5))
            seen.append((learner.step, first, second))
            assert not next(layers[3].parameters()).requires_grad

    make = trainer._learner
    trainer._learner = lambda encoder: _with(make(encoder), Watch())
    trainer.fit(data, RecordingRun(METRICS["accuracy"], data.valid.target))
    assert seen[0][1:] == (False, False) and seen[-1][1:] == (True, True)
    opened = [next(step for step, *flags in seen if flags[i]) for i in (0, 1)]
    assert opened[1] < opened[0] < len(seen) / 2


def _with(learner: Any, callback: object) -> Any:
    learner.callbacks.append(callback)
    return learner


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(BY_NAME))
def test_stopping_before_the_first_epoch_interrupts(name: str) -> None:
    if name in ENCODED and not encoders.available():
        pytest.skip("no sentence encoder is installed")
    block, data = prepared(only("text", "label"))
    run = RecordingRun(METRICS["accuracy"], data.valid.target, stop_after=0)
    with pytest.raises(Interrupted):
        build(name, block, max_tokens=64).fit(data, run)


@pytest.mark.parametrize("name", ["tfidf_linear", "bag_of_embeddings", "frozen_encoder"])
def test_when_time_is_short_some_of_the_texts_are_used(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ENCODED and not encoders.available():
        pytest.skip("no sentence encoder is installed")
    monkeypatch.setattr("seedbed_text.pace.MIN_ROWS", 20)
    block, data = prepared(only("text", "label"))
    # A trainer that measures its pace cannot take 50 texts apart in half of this.
    run = RecordingRun(METRICS["accuracy"], data.valid.target, seconds=1e-6)
    build(name, block, max_tokens=64).fit(data, run)
    assert any("time allows" in message for message in run.messages)
    assert run.reports


@needs_encoder
def test_fine_tuning_is_not_begun_where_time_is_too_short() -> None:
    block, data = prepared(only("text", "label"))
    run = RecordingRun(METRICS["accuracy"], data.valid.target, seconds=1e-3)
    with pytest.raises(Interrupted, match=r"50 steps .* are left"):
        build("fine_tuned_encoder", block, max_tokens=64).fit(data, run)


@pytest.mark.parametrize("name", ["tfidf_linear", "bag_of_embeddings"])
def test_texts_without_any_word_are_no_obstacle(name: str) -> None:
    frame = pd.DataFrame({"text": ["", " ", "\0", "\n"] * 10, "label": ["a", "b"] * 20})
    block = block_of(Dataset.from_frame(frame), "label", text_column="text")
    data = block.prepare(0)
    run = RecordingRun(METRICS["accuracy"], data.valid.target)
    build(name, block).fit(Data(data.train, data.valid), run)
    assert 0.0 <= run.best_score <= 1.0


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_bundle_answers_any_text_without_installed_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ENCODED and not encoders.available():
        pytest.skip("no sentence encoder is installed")
    block, data = prepared(only("text", "label"))
    parameters = {**BY_NAME[name].portfolio[0]}
    parameters.update({k: v for k, v in FAST.items() if k in parameters})
    trainer = BY_NAME[name].build(Blueprint(block, parameters, Hardware(), 1))
    trainer.fit(data, RecordingRun(METRICS["accuracy"], data.valid.target))
    bundle.write(
        tmp_path,
        block=block,
        trainer=trainer,
        architecture=name,
        parameters=parameters,
        seed=1,
        about={},
    )
    monkeypatch.setattr(encoders, "_folder", lambda name: None)
    predictor = bundle.open_bundle(tmp_path, load(), Hardware())
    texts = ["", "salt and butter", "🧈" * 5_000, "\ud800", "素晴らしい試合"]
    answers = predictor.predict([{"text": text} for text in texts])
    assert len(answers) == len(texts)
    with pytest.raises(InvalidArgument, match="nothing where text is expected"):
        predictor.predict([{"text": None}])
