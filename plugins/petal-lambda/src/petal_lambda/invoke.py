"""Call a function: one server call for an attempt, a bound on every wait, and patience while AWS throttles."""

from __future__ import annotations

import random
import time
from typing import Any

from petal_lambda.clients import MARGIN, Clients, is_aws, longest
from petal_lambda.endings import Ending, is_failure, plain
from petal_lambda.errors import Expired, Throttled, no_reply, of_service, throttled_out, timed_out
from petal_lambda.jobs import Job
from petal_lambda.limiter import Limiter
from petal_lambda.settings import LambdaSettings, called

#: The same beyond a node's `timeout`, where Petal's handler stops the task in time and says so.
GRACE = 3.0
#: Seconds for which a task that has no `timeout` is offered to AWS again while AWS throttles it.
PATIENCE = 300.0
#: Seconds that the first wait after a throttle has at most, on top of what AWS asks for, and any wait.
_FIRST, _LONGEST_WAIT = 0.5, 20.0
#: Bytes of a reply that are read at a time, and at all: more than any function of AWS can reply with.
_PIECE, _MOST = 1 << 16, 32 << 20


class _Late(Exception):
    """A reply has begun in time, but does not end."""


class Function:
    """One function as a run calls it.

    Args:
        settings: The settings.
        clients: Its clients.
        limiter: Says when it may be called.
    """

    def __init__(self, settings: LambdaSettings, clients: Clients, limiter: Limiter) -> None:
        self._settings = settings
        self._called = called(settings)
        self._clients = clients
        self._limiter = limiter
        self._longest = longest(settings)

    def ask(self, job: Job) -> Ending:
        """Have a task done, and return how that ended.

        A call that AWS throttles has not been made: it is made again after the time that AWS asks for, as long as the
        node's `timeout` allows, or :data:`PATIENCE`. That uses up no attempt of the node.

        Raises:
            RemoteError: It has not run.
            EnvironmentNotReady: It has not run, and will not here.
            TaskLost: It is not known whether it has run.
        """
        tries, renewed, began = 0, False, 0.0
        while True:
            entered = self._limiter.enter(job.check)
            began = began or time.monotonic()  # what it waits for others to end is not its own time
            throttled: Throttled | None = None
            try:
                client = self._clients.get(self._wait(job))
                return self._once(client, job)
            except Throttled as error:
                throttled = error
            except Expired as error:
                if renewed:
                    raise error.args[0] from error.__cause__
                self._clients.renew(client)
                renewed = True
                continue
            finally:
                self._limiter.leave(entered, None if throttled is None else throttled.after or 0.0)
            wait = (throttled.after or 0.0) + random.uniform(0.0, min(_LONGEST_WAIT, _FIRST * 2.0**tries))
            spent = time.monotonic() - began
            if spent + wait > (job.task.timeout or PATIENCE):
                raise throttled_out(throttled, self._settings.function_name, spent) from throttled
            job.wait(wait)
            tries += 1

    # -- inside -----------------------------------------------------------------------------------------------

    def _wait(self, job: Job) -> float:
        """Return the seconds for which the reply to a task is waited for."""
        timeout = job.task.timeout
        if timeout is None:
            return self._longest
        return min(self._longest, timeout + (0.0 if job.is_plain else GRACE))

    def _once(self, client: Any, job: Job) -> Ending:
        until = time.monotonic() + self._wait(job) + MARGIN
        try:
            response = client.invoke(FunctionName=self._called, Payload=job.data, LogType="Tail")
            data = _read(response["Payload"], response["ResponseMetadata"]["HTTPHeaders"], until)
        except Exception as error:
            found = self._emulated(error)
            if found is not None:
                return found
            raise self._why(error, job) from error
        return Ending(
            data,
            failed=response.get("FunctionError") is not None,
            from_aws="ExecutedVersion" in response or is_aws(client.meta.endpoint_url),
            log=response.get("LogResult", ""),
        )

    def _emulated(self, error: Exception) -> Ending | None:
        """Return the ending that AWS's emulator means: it says with an error of the service that a function has died."""
        answer: Any = getattr(error, "response", None)
        if not isinstance(answer, dict) or "x-amzn-errortype" in answer["ResponseMetadata"].get(
            "HTTPHeaders", {}
        ):
            return None
        body = answer.get("Body", b"")
        return Ending(body, failed=True) if is_failure(plain(body)) else None

    def _why(self, error: Exception, job: Job) -> Exception:
        """Return what it means that a call has failed."""
        if not isinstance(error, _late()):
            return of_service(error, self._settings, sent=len(job.data))
        timeout, name = job.task.timeout, self._settings.function_name
        wait = self._wait(job)
        return no_reply(wait, name) if timeout is None or wait == self._longest else timed_out(timeout, name)


def _late() -> tuple[type[Exception], ...]:
    """Return what is raised where a reply does not come in time."""
    from botocore.exceptions import ReadTimeoutError
    from urllib3.exceptions import ReadTimeoutError as Unfinished

    return (ReadTimeoutError, Unfinished, _Late)


def _read(body: Any, headers: dict[str, str], until: float) -> bytes:
    """Read a reply, as it comes, so that one that trickles in ends as well.

    Raises:
        OSError: It is cut, or endless.
    """
    length = headers.get("content-length")
    pieces, size = [], 0
    with body as raw:  # which closes the connection of a reply that was not read to its end
        take = getattr(raw, "read1", raw.read)
        while piece := take(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > _MOST:
                raise OSError(f"the reply has more than {_MOST:,} bytes")
            if time.monotonic() > until:
                raise _Late
    if length is not None and size != int(length):
        raise OSError(f"the reply has {size:,} of {int(length):,} bytes")
    return b"".join(pieces)
