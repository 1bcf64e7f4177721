"""The conformance suite: what every task must do, as tests that a plugin runs in one line.

TestChurn = task_contract("churn", make_dataset, target="churned")
"""

from seedbed_sdk.testing.contract import TaskContract, task_contract
from seedbed_sdk.testing.runs import RecordingRun

__all__ = ["RecordingRun", "TaskContract", "task_contract"]
