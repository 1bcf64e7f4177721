"""A job in its worker, from the data to the published model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed_sdk import bundle
from seedbed_sdk.blocks.base import ItemProblem
from seedbed_sdk.datablock import PreparedData, name_problems
from seedbed_sdk.errors import FailedPrecondition
from seedbed_sdk.trainer import Data, Hardware
from seedbed_server.data import reading, references
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import Finding, Job, JobState, Score, StopReason, Trial
from seedbed_server.search import scoring
from seedbed_server.search.budget import Spending
from seedbed_server.search.check import Plan, make_plan
from seedbed_server.search.loop import Candidate, Search
from seedbed_server.search.run import Control
from seedbed_server.store import Store

if TYPE_CHECKING:
    from seedbed_server.executors import Assignment
