"""Calls are made as fast as is allowed, and slower where AWS throttles."""

from batch_watchdog.aws.rate_limiter import RateLimiter


class Time:
    """Passes with pauses, and with what calls take."""

    def __init__(self) -> None:
        self.left = 60.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 3))
        self.left -= seconds


def a_pace(most: float = 10) -> tuple[RateLimiter, Time]:
    time = Time()
    pace = RateLimiter(most, time.pause)
    pace.begin(lambda: time.left)
    return pace, time


def test_calls_that_take_no_time_wait_for_their_turn() -> None:
    pace, time = a_pace()

    for _ in range(3):
        pace.wait()
        pace.passed()

    assert time.pauses == [0.1] * 3


def test_what_a_call_has_taken_is_not_waited_for_again() -> None:
    pace, time = a_pace()
    pace.wait()
    time.left -= 0.07
    pace.wait()
    time.left -= 0.5
    pace.wait()

    assert time.pauses == [0.1, 0.03]


def test_a_throttled_call_is_waited_for_longer_each_time_and_not_for_ever() -> None:
    pace, time = a_pace(most=100)

    for _ in range(10):
        pace.wait()
        pace.throttled()

    assert time.pauses[:5] == [0.01, 0.2, 0.4, 0.8, 1.6]
    assert max(time.pauses) == 5.0


def test_the_rate_falls_with_each_throttled_call_and_comes_back() -> None:
    pace, time = a_pace()
    pace.throttled()
    pace.passed()
    pace.wait()
    slower = time.pauses[-1]

    for _ in range(100):
        pace.passed()
    pace.wait()

    assert slower == 0.111
    assert time.pauses[-1] == 0.1


def test_where_the_clock_stands_still_the_pauses_tell_the_time() -> None:
    pace = RateLimiter(10, lambda seconds: None)  # noqa: ARG005
    pace.begin(lambda: 60.0)

    for _ in range(20):
        pace.wait()

    assert round(pace.elapsed, 3) == 2.0
