"""Try again what may be done twice: a bounded number of times, within a bounded time, with growing, random pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct

from petal_aws.failures import Damaged, explained, is_expired, is_passing
from petal_aws.session import renew

T = TypeVar("T")

#: Bytes a second that a connection must carry at the least, when it is asked how long something may take.
SLOWEST: Final = 256 << 10
_LONGEST_PAUSE: Final = 5.0


class Patience(Struct, frozen=True):
    """How long something is tried.

    Attributes:
        attempts: How often at most, the first time included.
        seconds: For all attempts together; what carries many bytes may take longer, by :data:`SLOWEST`.
        first_pause: Seconds that the first pause has at most; it doubles with each attempt.
    """

    attempts: int = 6
    seconds: float = 60.0
    first_pause: float = 0.2

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after so many attempts: any number up to a bound that doubles."""
        return random.uniform(0.0, min(_LONGEST_PAUSE, self.first_pause * 2.0 ** (attempt - 1)))


def patiently(patience: Patience, work: Callable[[], T], what: str = "", size: int = 0) -> T:
    """Do what may be done twice until it succeeds; credentials that have expired are read anew once.

    Args:
        patience: How long.
        work: Calls AWS.
        what: What it is about, for messages.
        size: Bytes that it carries.

    Raises:
        OSError: It failed for good, or patience is at its end.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    until = time.monotonic() + patience.seconds + size / SLOWEST
    attempt, renewed = 0, False
    while True:
        attempt += 1
        try:
            return work()
        except (BotoCoreError, ClientError, ResponseParserError, HTTPError, Damaged) as error:
            if is_expired(error) and not renewed:
                renewed = True
                renew()
                continue
            pause = patience.pause(attempt)
            late = time.monotonic() + pause > until
            if not is_passing(error) or attempt >= patience.attempts or late:
                raise explained(error, what, attempt) from error
        time.sleep(pause)
