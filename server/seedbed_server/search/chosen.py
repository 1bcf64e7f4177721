"""What may be published: a trial, or several together, and their bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seedbed_sdk import bundle
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import PreparedData
from seedbed_sdk.ensemble import ENSEMBLE, joined
from seedbed_sdk.registry import Registry
from seedbed_sdk.space import Parameters
from seedbed_sdk.trainer import Trainer
from seedbed_server.jobs.values import (
    Finding,
    Score,
)
from seedbed_server.search.candidates import Candidate
from seedbed_server.search.check import Plan
from seedbed_server.search.loop import Search
from seedbed_server.search.refit import seed_of
from seedbed_server.store import Files


@dataclass(frozen=True)
class Finishing:
    """What it takes beside the search itself. `findings` are those of the data, `features` what it
    is like, as `search.similarity` describes it."""

    plan: Plan
    prepared: PreparedData
    findings: Sequence[Finding]
    files: Files
    registry: Registry
    features: Mapping[str, float]


@dataclass(frozen=True)
class Part:
    """A trial in the model. `refitted` are the hyperparameters of training once more, if it was;
    `repeat` says which of several such models this one is."""

    candidate: Candidate
    trainer: Trainer
    weight: float = 1.0
    refitted: Parameters | None = None
    repeat: int = 0

    @property
    def parameters(self) -> Parameters:
        """What the trainer is built from."""
        return self.refitted or dict(self.candidate.trial.parameters)


@dataclass(frozen=True)
class Chosen:
    """What may be published; `outputs` are on the validation split. The first part is the best
    trial, or the one that is published in its place."""

    parts: tuple[Part, ...]
    outputs: Array

    @property
    def of_one_trial(self) -> bool:
        """Whether all parts are models of the same trial."""
        return len({part.candidate.trial.number for part in self.parts}) == 1

    @property
    def trainer(self) -> Trainer:
        """That of the only part, or of all together."""
        if len(self.parts) == 1:
            return self.parts[0].trainer
        return joined([p.trainer for p in self.parts], [p.weight for p in self.parts])

    @property
    def architecture(self) -> str:
        """That of the only trial, or `ensemble`."""
        return self.parts[0].candidate.trial.architecture if self.of_one_trial else ENSEMBLE

    def described(self) -> Parameters:
        """The hyperparameters, or what the members are."""
        if self.of_one_trial:
            return self.parts[0].parameters
        members = [
            {
                "trial": part.candidate.trial.number,
                "architecture": part.candidate.trial.architecture,
                "weight": part.weight,
                "parameters": part.parameters,
            }
            for part in self.parts
        ]
        return {"members": members}


def write_bundle(folder: Path, search: Search, chosen: Chosen, about: Mapping[str, Any]) -> None:
    """Writes the bundle of what was chosen into an empty folder."""
    members = [
        bundle.Member(
            part.candidate.trial.architecture,
            part.parameters,
            seed_of(search, part.candidate.trial, part.repeat),
            part.weight,
        )
        for part in chosen.parts
    ]
    bundle.write(
        folder,
        block=search.block,
        trainer=chosen.trainer,
        architecture=chosen.architecture,
        parameters=chosen.described(),
        seed=members[0].seed,
        about=about,
        members=members if len(members) > 1 else (),
    )


def about(search: Search, means: Finishing, validation: Score, test: Score) -> Mapping[str, Any]:
    """What the bundle says to its readers."""
    task = means.plan.task.name
    package = means.registry.packages[task]
    return {
        "seedbed": version("seedbed"),
        "task": task,
        "package": package.name,
        "package_version": package.version,
        "job": search.job.id,
        "dataset_fingerprint": search.job.dataset_fingerprint,
        "validation_score": asdict(validation),
        "test_score": asdict(test),
    }
