"""How often a caller may call."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from seedbed_server.errors import RateLimited

# So many seconds' worth of calls may come at once.
BURST_SECONDS = 5.0
# Above this many callers those who have been quiet are forgotten.
MOST_CALLERS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimits:
    """A token bucket for each caller: `per_second` calls on average, and five seconds' worth at
    once. 0 sets no limit."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._size = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, who: str) -> None:
        """Counts a call. Raises RateLimited for one too many, which is not counted."""
        if not self._rate:
            return
        time = self._clock()
        bucket = self._buckets.get(who)
        if bucket is None:
            self._make_room(time)
            bucket = self._buckets[who] = _Bucket(self._size, time)
        self._fill(bucket, time)
        if bucket.tokens < 1:
            wait = (1 - bucket.tokens) / self._rate
            raise RateLimited(
                f"too many calls: this server takes {self._rate:g} a second from one caller; "
                f"call again in {max(wait, 0.01):.2f} s",
                retry_seconds=wait,
            )
        bucket.tokens -= 1

    def _fill(self, bucket: _Bucket, time: float) -> None:
        bucket.tokens = min(self._size, bucket.tokens + (time - bucket.filled_at) * self._rate)
        bucket.filled_at = time

    def _make_room(self, time: float) -> None:
        if len(self._buckets) < MOST_CALLERS:
            return
        for bucket in self._buckets.values():
            self._fill(bucket, time)
        # A full bucket says nothing that a new one would not say.
        left = {who: b for who, b in self._buckets.items() if b.tokens < self._size}
        # Where all of them are busy, the ones that have used least are the least wrong to forget.
        kept = sorted(left.items(), key=lambda entry: entry[1].tokens)[: MOST_CALLERS // 2]
        self._buckets = dict(kept)
