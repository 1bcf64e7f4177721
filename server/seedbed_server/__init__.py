"""The seedbed service: an API process that keeps the books, and worker processes that compute.

`python -m seedbed_server` starts it; `main.serve` is what that calls.
"""

__version__ = "0.1.0"
