"""An AWS that counts its calls and fails as it is told to: slow, throttled, cut, wrong, or gone after it did the work.

A test says what the next calls of an operation get; those for which nothing is said are answered as they should: by a
function of the test's (Lambda's ``Invoke``), or by the tests' AWS server, in front of which the stub then stands::

    stub.answer("PutObject", reset_after())  # the object is stored, and nobody is told
    stub.always("GetObject", slow(30))
    assert stub.count("PutObject") == 2
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from tests.services.aws_operations import operation_of
from tests.services.loopback import Exchange, Loopback

#: Headers of an answer that belong to one connection.
_HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Call:
    """A call that reached the stub, and when, by the monotonic clock."""

    service: str
    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    #: By name, in lower case.
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    at: float


@dataclass(frozen=True)
class Reply:
    """An answer in good order."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AwsStub:
    """The stub; it listens until it is closed.

    Args:
        upstream: The URL of the AWS server that answers what no test has said anything about; without one, only
            ``Invoke`` has an answer, that of :attr:`function`.
    """

    def __init__(self, upstream: str | None = None) -> None:
        self.calls: list[Call] = []
        #: What ``Invoke`` answers where nothing else is said: JSON in, JSON out.
        self.function: Callable[[Any], Any] = lambda payload: payload
        self._upstream = upstream
        self._next: dict[str, deque[Answer]] = defaultdict(deque)
        self._always: dict[str, Answer] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = Loopback(self._serve)
        self.url = self._server.url

    def answer(self, operation: str, *answers: Answer) -> None:
        """Say what the next calls of an operation get, in this order, before they are as always again."""
        with self._lock:
            self._next[operation].extend(answers)

    def always(self, operation: str, answer: Answer) -> None:
        """Say what every call of an operation gets."""
        with self._lock:
            self._always[operation] = answer

    def count(self, operation: str) -> int:
        """Return how many calls of an operation came."""
        return sum(call.operation == operation for call in self.calls)

    def close(self) -> None:
        """Stop listening; calls that wait for an answer get none."""
        self._closing.set()
        self._server.close()

    def __enter__(self) -> AwsStub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what answers use -----------------------------------------------------------------------------------------

    def carry_out(self, call: Call, exchange: Exchange) -> Reply:
        """Do what the call asks for, and return the answer in good order."""
        if call.operation == "Invoke" and self._upstream is None:
            return self._invoke(call)
        if self._upstream is None:
            return refusal(call, 501, "NotImplemented", f"the stub has no answer for {call.operation}")
        connection = http.client.HTTPConnection(urlsplit(self._upstream).netloc, timeout=60)
        try:
            kept = {k: v for k, v in call.headers.items() if k not in (*_HOPS, "expect")}
            connection.request(call.method, exchange.target, call.body, kept)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        headers = {k: v for k, v in response.getheaders() if k.lower() not in _HOPS}
        if call.method == "HEAD" and (length := response.getheader("Content-Length")):
            headers["Content-Length"] = length
        return Reply(response.status, headers, body)

    def wait(self, seconds: float | None) -> bool:
        """Wait, for ever where no time is given; False when the stub is closed meanwhile."""
        return not self._closing.wait(seconds)

    def _invoke(self, call: Call) -> Reply:
        head = _head("application/json")
        try:
            return Reply(200, head, json.dumps(self.function(json.loads(call.body or b"null"))).encode())
        except Exception as raised:  # as Lambda reports it
            told = {"errorMessage": str(raised), "errorType": type(raised).__name__, "stackTrace": []}
            return Reply(200, head | {"X-Amz-Function-Error": "Unhandled"}, json.dumps(told).encode())

    # -- a call ---------------------------------------------------------------------------------------------------

    def _serve(self, exchange: Exchange) -> None:
        service, operation = operation_of(exchange)
        call = Call(
            service,
            operation,
            exchange.method,
            exchange.path,
            exchange.query,
            exchange.headers,
            exchange.body,
            time.monotonic(),
        )
        with self._lock:
            self.calls.append(call)
            waiting = self._next[operation]
            answer = waiting.popleft() if waiting else self._always.get(operation, _well)
        with contextlib.suppress(ConnectionError):  # who called has hung up
            answer(self, call, exchange)


#: Carries out a call, or not, and answers, or not.
Answer = Callable[[AwsStub, Call, Exchange], None]


# -- answers in good order --------------------------------------------------------------------------------------------


def raw(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """These bytes, whatever they are; nothing is carried out."""
    return lambda stub, call, exchange: exchange.reply(status, _head() | dict(headers or {}), body)


def ok(body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON value, as a function returns it; nothing is carried out."""
    return raw(200, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})


def function_error(payload: Any, kind: str = "Unhandled") -> Answer:
    """What Lambda answers where a function failed: status 200, and a header that says so."""
    return ok(payload, {"X-Amz-Function-Error": kind})


def error(status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal, in the form of the service that was called; nothing is carried out."""

    def answer(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        made = refusal(call, status, code, message)
        exchange.reply(made.status, {**made.headers, **(headers or {})}, made.body)

    return answer


def throttled(retry_after: float = 1) -> Answer:
    """Lambda's 429, with the time to wait in its body and in its header."""
    text = f"{retry_after:g}"
    body = {
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
        "retryAfterSeconds": text,
    }
    headers = {
        "Content-Type": "application/json",
        "x-amzn-ErrorType": "TooManyRequestsException",
        "Retry-After": text,
    }
    return raw(429, json.dumps(body).encode(), headers)


def internal_error() -> Answer:
    """500: it may or may not have been carried out, says AWS; here it was not."""
    return error(500, "InternalError", "We encountered an internal error. Please try again.")


def slow_down() -> Answer:
    """S3's 503."""
    return error(503, "SlowDown", "Please reduce your request rate.")


def expired_token() -> Answer:
    """Credentials that were good and are no longer."""
    return error(403, "ExpiredToken", "The provided token has expired.")


def clock_skewed() -> Answer:
    """A clock too far from Amazon's."""
    text = "The difference between the request time and the current time is too large."
    return error(403, "RequestTimeTooSkewed", text)


# -- answers in bad order ---------------------------------------------------------------------------------------------


def slow(seconds: float, answer: Answer | None = None) -> Answer:
    """Wait before anything is done; then this answer, or the usual one."""

    def late(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        if stub.wait(seconds):
            (answer or _well)(stub, call, exchange)

    return late


def slow_after(seconds: float) -> Answer:
    """Carry the call out, and only then wait with the answer."""

    def late(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        made = stub.carry_out(call, exchange)
        if stub.wait(seconds):
            exchange.reply(made.status, made.headers, made.body)

    return late


def hang() -> Answer:
    """Neither carry the call out nor answer, until the stub is closed."""

    def never(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        stub.wait(None)
        exchange.hang_up()

    return never


def dribble(pause: float, pieces: int = 10) -> Answer:
    """Send the usual body in this many pieces, with a pause of so many seconds before each."""

    def drop_by_drop(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        made = stub.carry_out(call, exchange)
        exchange.begin(made.status, {**made.headers, "Content-Length": str(len(made.body))})
        size = max(1, -(-len(made.body) // pieces))
        for start in range(0, len(made.body), size):
            if not stub.wait(pause):
                return
            exchange.send(made.body[start : start + size])

    return drop_by_drop


def cut(keep: float = 0.5, *, chunked: bool = False) -> Answer:
    """Break off in the middle of the usual body, after this part of it, whose length was said before (or not)."""

    def short(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        made = stub.carry_out(call, exchange)
        kept = made.body[: int(len(made.body) * keep)]
        if chunked:
            headers = {k: v for k, v in made.headers.items() if k.lower() != "content-length"}
            exchange.begin(made.status, {**headers, "Transfer-Encoding": "chunked"})
            exchange.send(f"{len(kept):x}\r\n".encode() + kept + b"\r\n")
        else:
            exchange.begin(made.status, {**made.headers, "Content-Length": str(len(made.body))})
            exchange.send(kept)
        exchange.hang_up()

    return short


def truncated(keep: float = 0.5) -> Answer:
    """Send a part of the usual body as if it were all of it."""
    return _changed(lambda body: body[: int(len(body) * keep)])


def flipped() -> Answer:
    """Send as many bytes as usual, one of which is wrong."""

    def one_bit(body: bytes) -> bytes:
        middle = len(body) // 2
        return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]

    return _changed(one_bit)


def reset_before() -> Answer:
    """Drop the connection; nothing was carried out."""
    return lambda stub, call, exchange: exchange.reset()


def reset_after() -> Answer:
    """Carry the call out, and drop the connection without an answer."""

    def gone(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        stub.carry_out(call, exchange)
        exchange.reset()

    return gone


def _well(stub: AwsStub, call: Call, exchange: Exchange) -> None:
    made = stub.carry_out(call, exchange)
    exchange.reply(made.status, made.headers, made.body)


def _changed(change: Callable[[bytes], bytes]) -> Answer:
    """Send the usual body changed; headers that would tell are left out, or SDKs would find it before Petal does."""

    def wrong(stub: AwsStub, call: Call, exchange: Exchange) -> None:
        made = stub.carry_out(call, exchange)
        told = re.compile(r"x-amz-checksum-.*|content-md5")
        headers = {k: v for k, v in made.headers.items() if not told.fullmatch(k.lower())}
        exchange.reply(made.status, headers, change(made.body))

    return wrong


# -- forms ------------------------------------------------------------------------------------------------------------


def refusal(call: Call, status: int, code: str, message: str) -> Reply:
    """Return an error in the form of the service that was called: XML for S3, else JSON."""
    if call.service == "s3":
        text = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        return Reply(status, _head("application/xml"), f'<?xml version="1.0"?>{text}'.encode())
    body = {"__type": code, "Type": "User", "message": message}
    headers = _head("application/json") | {"x-amzn-ErrorType": code}
    return Reply(status, headers, json.dumps(body).encode())


def _head(kind: str = "application/octet-stream") -> dict[str, str]:
    return {"Content-Type": kind, "x-amzn-RequestId": str(uuid.uuid4())}
