"""Where work runs: worker processes for jobs, call processes for what else needs libraries.

All are forked from one server that has the libraries loaded; the API process has none of them.
"""

from seedbed_server.executors.assignment import Assignment, Control

__all__ = ["Assignment", "Control"]
