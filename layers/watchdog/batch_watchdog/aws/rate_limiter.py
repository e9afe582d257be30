"""Limit the rate of very many calls: as fast as is allowed, and slower while AWS throttles."""

from collections.abc import Callable

_SLOWEST = 0.5  # calls a second
_BACKOFF_S, _BACKOFF_MAX_S = 0.1, 5.0

# With these, the rate settles close below what AWS allows: it falls by a tenth when a call is
# throttled, and takes some twenty calls to recover.
_FALL, _RISE = 0.9, 1.005


class RateLimiter:
    """
    Waits before each call, so that at most `most` calls are made in a second.

    `pause` waits for a number of seconds, and `time_left` returns how many are left to the
    invocation. How long the last call took is computed from that, without a clock.
    """

    def __init__(self, most: float, pause: Callable[[float], None]) -> None:
        self._most = most
        self._rate = most
        self._pause = pause
        self._throttled = 0  # calls in a row
        self._time_left: Callable[[], float] = lambda: 0.0
        self._first = self._last = 0.0
        self._paused = 0.0

    def begin(self, time_left: Callable[[], float]) -> None:
        """Begin a new invocation."""
        self._time_left = time_left
        self._first = self._last = time_left()
        self._paused = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the invocation began; at least the sum of the pauses."""
        return max(self._paused, self._first - self._time_left())

    def wait(self) -> None:
        """Wait until the next call may be made."""
        taken = max(0.0, self._last - self._time_left())
        span = 1 / self._rate - taken
        if self._throttled:
            span = max(span, min(_BACKOFF_S * 2**self._throttled, _BACKOFF_MAX_S))
        if span > 0:
            self._pause(span)
            self._paused += span
        self._last = self._time_left()

    def passed(self) -> None:
        """Raise the rate again, after a call that was not throttled."""
        self._throttled = 0
        self._rate = min(self._most, self._rate * _RISE)

    def throttled(self) -> None:
        """Lower the rate, after a call that was throttled."""
        self._throttled += 1
        self._rate = max(_SLOWEST, self._rate * _FALL)
