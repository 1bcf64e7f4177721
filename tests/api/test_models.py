"""ModelService and PredictionService."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from seedbed.v1 import models_pb2, predictions_pb2, values_pb2
from tests.api.harness import Harness, refused
from tests.conftest import eventually


def value(**kind: Any) -> values_pb2.Value:
    return values_pb2.Value(**kind)


def request(model: str, *values: values_pb2.Value) -> predictions_pb2.PredictRequest:
    examples = [values_pb2.Example(fields={"a": v}) for v in values]
    return predictions_pb2.PredictRequest(model=model, examples=examples)


@pytest.fixture(scope="module")
def model(service: Harness, dataset: str) -> str:
    """The name of a model."""
    return service.finished(dataset).model


def download(service: Harness, name: str, offset: int = 0) -> list[Any]:
    call = service.models.DownloadModel(
        models_pb2.DownloadModelRequest(name=name, offset=offset), timeout=20
    )
    return list(call)


def test_a_model_says_where_it_is_from(service: Harness, model: str, dataset: str) -> None:
    found = service.models.GetModel(models_pb2.GetModelRequest(name=model))
    assert found.task == "tasks/tiny"
    assert found.job.startswith("projects/default/jobs/")
    assert [(f.name, f.type) for f in found.inputs] == [("a", "numeric")]
    assert list(found.classes) == ["no", "yes"]
    assert (found.target, found.architecture) == ("b", "line")
    assert found.validation_score.confidence == 0.95
    assert found.size_bytes == 2**21 + 16
    newest = service.models.ListModels(models_pb2.ListModelsRequest(page_size=1000)).models
    assert model in [m.name for m in newest]
    missing = refused(service.models.GetModel, models_pb2.GetModelRequest(name="nothere"))
    assert (missing.code, missing.message) == (
        grpc.StatusCode.NOT_FOUND,
        "there is no model 'nothere'",
    )


def test_a_bundle_is_downloaded_whole_and_from_any_place(service: Harness, model: str) -> None:
    messages = download(service, model)
    data = b"".join(m.chunk for m in messages)
    assert all(len(m.chunk) <= 2**20 for m in messages)
    assert messages[0].size_bytes == len(data)
    assert messages[0].sha256 == hashlib.sha256(data).hexdigest()
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.namelist() == ["bundle.json", "weights/line.bin"]
    assert archive.testzip() is None
    assert b"".join(m.chunk for m in download(service, model, 1000)) == data[1000:]
    assert [m.chunk for m in download(service, model, len(data))] == [b""]
    error = refused(
        service.models.DownloadModel,
        models_pb2.DownloadModelRequest(name=model, offset=len(data) + 1),
    )
    assert f"must be from 0 to {len(data)}" in error.violations["offset"]


def test_a_download_goes_on_when_the_model_is_deleted(service: Harness, dataset: str) -> None:
    model = service.finished(dataset).model
    call = service.models.DownloadModel(models_pb2.DownloadModelRequest(name=model), timeout=20)
    first = next(call)
    service.models.DeleteModel(models_pb2.DeleteModelRequest(name=model))
    data = first.chunk + b"".join(m.chunk for m in call)
    assert hashlib.sha256(data).hexdigest() == first.sha256
    assert not (service.data_dir / "models" / model.rpartition("/")[2]).exists()
    get = models_pb2.GetModelRequest(name=model)
    assert refused(service.models.GetModel, get).code == grpc.StatusCode.NOT_FOUND
    again = models_pb2.DownloadModelRequest(name=model)
    assert refused(service.models.DownloadModel, again).code == grpc.StatusCode.NOT_FOUND
    predict = request(model, value(int64_value=1))
    assert refused(service.predictions.Predict, predict).code == grpc.StatusCode.NOT_FOUND


def test_values_arrive_with_their_types(service: Harness, model: str) -> None:
    time = Timestamp()
    time.FromDatetime(datetime(2024, 2, 29, tzinfo=UTC))
    values = [
        value(int64_value=2**60),
        value(string_value="x"),
        value(bytes_value=b"\x00"),
        value(bool_value=True),
        value(null_value=0),
        value(timestamp_value=time),
        value(list_value=values_pb2.ListValue(values=[value(int64_value=1)])),
        value(double_value=2.0),
    ]
    answer = service.predictions.Predict(request(model, *values))
    assert answer.model == model
    kinds = [p.classification.label.split()[0] for p in answer.predictions[:-1]]
    assert kinds == ["int", "str", "bytes", "bool", "NoneType", "datetime", "list"]
    assert answer.predictions[0].classification.probabilities[0].probability == 1.0
    last = answer.predictions[-1].regression
    assert (last.value, last.lower, last.upper, last.HasField("confidence")) == (2, 1, 3, False)


def test_rows_that_do_not_suit_are_refused(service: Harness, model: str) -> None:
    predict = service.predictions.Predict
    bad = predictions_pb2.PredictRequest(model=model)
    assert refused(predict, bad).violations == {"examples": "must be from 1 to 10,000 items, got 0"}
    bad.examples.extend([values_pb2.Example()] * 10_001)
    assert "got 10001" in refused(predict, bad).violations["examples"]
    error = refused(predict, request(model, value()))
    assert error.violations == {
        'examples[0].fields["a"]': "has no value; a missing value is a null_value"
    }
    del bad.examples[1:]
    bad.examples[0].fields["z"].int64_value = 1
    error = refused(predict, bad)
    assert error.violations == {"examples[0].fields": "takes the column a, got: z"}


def test_models_stay_loaded_and_a_dead_server_process_is_replaced(
    service: Harness, model: str
) -> None:
    def pid() -> str:
        answer = service.predictions.Predict(request(model, value(int64_value=1)))
        return answer.predictions[0].classification.label

    before = pid()
    assert pid() == before
    error = refused(service.predictions.Predict, request(model, value(string_value="die")))
    assert error.code == grpc.StatusCode.UNAVAILABLE
    assert "the process that serves predictions died: killed by signal 9" in error.message
    assert pid() != before


def test_a_model_that_answers_is_not_deleted(
    service: Harness, dataset: str, tmp_path: Path
) -> None:
    model = service.finished(dataset).model
    flag = tmp_path / "flag"
    slow = request(model, value(string_value=f"wait:{flag}"))
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(service.predictions.Predict(slow)))
    thread.start()
    assert eventually(flag.exists)
    delete = models_pb2.DeleteModelRequest(name=model)
    error = refused(service.models.DeleteModel, delete)
    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "MODEL_IN_USE"
    flag.unlink()
    thread.join()
    assert len(answers[0].predictions) == 1
    service.models.DeleteModel(delete)
    assert refused(service.models.DeleteModel, delete).code == grpc.StatusCode.NOT_FOUND
