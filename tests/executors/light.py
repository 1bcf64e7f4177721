"""What test servers preload: the workers' own modules, without the numeric libraries."""

import seedbed_server.executors.calls
import seedbed_server.executors.worker

__all__ = ["seedbed_server"]
