"""A stranger's package comes, brings its task, and goes again with just that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

import seedbed
from tests.conftest import ROOT, child_environment
from tests.e2e.conftest import serve

PACKAGE = ROOT / "examples" / "seedbed-neighbours"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, since building may leave files behind."""
    copy = tmp_path_factory.mktemp("package") / PACKAGE.name
    ignore = shutil.ignore_patterns("__pycache__", ".*", "build", "dist")
    return Path(shutil.copytree(PACKAGE, copy, ignore=ignore))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment of its own that also sees all that is installed here."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    here = [path for path in sys.path if Path(path).name == "site-packages"]
    # Unlike a bare line, addsitedir also follows the .pth files of editable installations.
    lines = [f"import site; site.addsitedir({path!r})" for path in here]
    (packages / "here.pth").write_text("\n".join(lines) + "\n")
    return str(home / "bin" / "python")


Pip = Callable[..., None]


@pytest.fixture(scope="module")
def pip(python: str) -> Pip:
    """pip for that environment, without a network."""

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--python", python, "--no-input", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def run_contract(python: str, package: Path) -> None:
    """The conformance suite that the package's own tests are."""
    contract = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py"],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=200,
        env=child_environment(),
    )
    assert contract.returncode == 0, contract.stdout + contract.stderr
    assert " passed" in contract.stdout


def installed_here() -> set[str]:
    """The distributions of the environment that the tests themselves run in."""
    packages = next(path for path in sys.path if Path(path).name == "site-packages")
    return {path.name for path in Path(packages).glob("*.dist-info")}


def test_a_package_brings_a_task_and_takes_it_away(
    source: Path, python: str, pip: Pip, tmp_path: Path
) -> None:
    before = installed_here()
    pip("install", "--no-deps", "--no-build-isolation", str(source))
    with (
        serve(tmp_path / "data", python=python) as server,
        seedbed.connect(server.address) as client,
    ):
        assert client.plugin_problems() == []
        tasks = {task.id: task for task in client.tasks()}
        assert {"neighbours", "tabular", "image_classification"} <= tasks.keys()
        task = tasks["neighbours"]
        assert (task.package, task.package_version) == ("seedbed-neighbours", "0.1.0")
        assert "neighbours" in [a.name for a in task.architectures]
        job = client.train("neighbours", "sample://wine", budget="3trials", seed=1)
        assert {trial.architecture for trial in job.trials()} == {"neighbours"}
        assert job.test_score is not None
        assert job.test_score.value > 0.8
        model = job.model()
        wine = load_wine(as_frame=True)
        answers = model.predict(wine.data.to_dict("records"))
        truth = wine.target_names[wine.target]
        right = sum(answer.value == true for answer, true in zip(answers, truth, strict=True))
        assert right / len(truth) > 0.85

    run_contract(python, source)

    pip("uninstall", "--yes", "seedbed-neighbours")
    with (
        serve(tmp_path / "data", python=python) as server,
        seedbed.connect(server.address) as client,
    ):
        assert client.plugin_problems() == []
        assert {task.id for task in client.tasks()} == tasks.keys() - {"neighbours"}
        with pytest.raises(seedbed.InvalidArgument, match="there is no task 'neighbours'"):
            client.train("neighbours", "sample://wine", budget="1trials")
        # What it made is still listed, and says what is missing.
        assert [j.state for j in client.jobs()] == [seedbed.JobState.SUCCEEDED]
        with pytest.raises(seedbed.FailedPrecondition, match=r"'neighbours'.*not installed"):
            client.model(model.id).predict(wine.data.to_dict("records")[0])
        assert client.train("tabular", "sample://wine", budget="1trials").test_score is not None
    assert installed_here() == before


def test_a_package_that_seedbed_wrote_works_as_it_is(python: str, pip: Pip, tmp_path: Path) -> None:
    wrote = subprocess.run(
        [sys.executable, "-m", "seedbed.cli", "plugin", "new", "leaf-colour", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    package = tmp_path / json.loads(wrote.stdout)["package"]
    assert package.name == "seedbed-leaf-colour"
    pip("install", "--no-deps", "--no-build-isolation", str(package))
    run_contract(python, package)
    with (
        serve(tmp_path / "data", python=python) as server,
        seedbed.connect(server.address) as client,
    ):
        assert client.plugin_problems() == []
        task = client.task("leaf_colour")
        assert (task.package, task.title) == ("seedbed-leaf-colour", "Leaf colour")
        job = client.train(
            "leaf_colour",
            "sample://wine",
            budget="1trials",
            search_space={"architecture": "leaf_colour_network"},
        )
        assert job.test_score is not None
        assert job.test_score.value > 0.8
    pip("uninstall", "--yes", "seedbed-leaf-colour")


def test_a_package_is_not_written_over(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seedbed.cli", "plugin", "new"]
    for name, said in {
        "leaf": "is there already; choose another name or folder",
        "Leaf Colour": "must be lower-case words with - between them, such as churn, got 'Leaf C",
        "../leaf": "must be lower-case words",
        "class": "must be lower-case words",
    }.items():
        (tmp_path / "seedbed-leaf").mkdir(exist_ok=True)
        done = subprocess.run(
            [*command, name], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert said in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["seedbed-leaf"]
    assert not list((tmp_path / "seedbed-leaf").iterdir())
