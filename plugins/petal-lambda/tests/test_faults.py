"""What goes wrong with calls of functions, each with its control: the same fault, undefended, does harm."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from petal_lambda.envelope import body_of

from petal import Pipeline, Session, node
from petal.data.wire import unpack
from petal.execution.result import RunResult
from petal.spec.event import Status
from petal.testing import tasks
from petal.testing.subject import giver
from tests.services import aws_stub as faults
from tests.services.aws_stub import AwsStub

Run = Callable[..., RunResult]
#: Attempts without waits.
NOW = {"max_attempts": 3, "delay": 0.01}


def plain_client(stub: AwsStub, **config: Any) -> Any:
    """Return a client as boto3 makes it where nobody says more."""
    return boto3.client("lambda", endpoint_url=stub.url, config=Config(**config))


def requests(stub: AwsStub) -> list[dict[str, Any]]:
    """Return the headers of the messages of Petal that reached a stub, unsealed ones."""
    found = [json.loads(call.body) for call in stub.calls if call.body]
    return [unpack(body_of(payload)).header for payload in found]


def node_of(result: RunResult) -> Any:
    """Return what the run says of the node."""
    return result.nodes["it"]


# -- F50: throttles -----------------------------------------------------------------------------------------------


class TestThrottled:
    """F50: AWS asks to come back later."""

    def test_it_is_asked_again_after_the_time_that_it_says(self, worker: AwsStub, run: Run) -> None:
        """Two throttles use up no attempt of a node that has one, and each wait is as long as asked for."""
        worker.answer("Invoke", faults.throttled(0.3), faults.throttled(0.3))
        result = run(tasks.adds, 1).check()
        assert (result.outputs["it"], node_of(result).attempts) == (1, 1)
        at = [call.at for call in worker.calls]
        assert len(at) == 3
        assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(at))

    def test_control_boto3_asks_again_before_that(self, aws_stub: AwsStub) -> None:
        """Left to itself it tries again after a time of its own choice."""
        aws_stub.answer("Invoke", faults.throttled(30), faults.ok(1))
        client = plain_client(aws_stub)
        client.invoke(FunctionName="f", Payload=b"1")["Payload"].read()
        client.close()
        first, second = (call.at for call in aws_stub.calls)
        assert second - first < 30

    def test_one_that_asks_for_longer_than_the_node_has_is_given_up_at_once(
        self, worker: AwsStub, run: Run
    ) -> None:
        """It has not run, so it may go elsewhere even if it must happen once; in the same place nobody asks again."""
        worker.always("Invoke", faults.throttled(60))
        began = time.monotonic()
        result = run(tasks.adds, 1, timeout=2, retry=NOW, effects="once")
        assert time.monotonic() - began < 20
        found = node_of(result)
        assert (found.status, found.error.code, str(found.error.kind)) == (
            "failed",
            "throttled",
            "infrastructure",
        )
        assert worker.count("Invoke") == 1

    def test_a_function_that_stays_throttled_is_left_for_the_next_place(
        self, worker: AwsStub, run: Run
    ) -> None:
        """`failover` moves the node on, since it has surely not run."""
        worker.always("Invoke", faults.throttled(60))
        result = run(tasks.adds, 1, settings={"failover": ["process"]}, timeout=2).check()
        assert (result.outputs["it"], node_of(result).backend) == (1, "process")

    def test_fewer_calls_are_made_at_a_time(self, worker: AwsStub, run: Run) -> None:
        """A function that takes two calls at a time does sixty batches, and few of them are turned away."""
        at_once = _Capacity(2)
        worker.always("Invoke", at_once)
        batch = {"size": 1, "in_flight": 16}
        result = run(tasks.doubles, list(range(60)), batch=batch).check()
        assert list(result.outputs["it"]) == list(range(0, 120, 2))
        assert node_of(result).attempts == 1
        assert at_once.throttled < 60

    def test_control_without_a_limiter_most_calls_are_turned_away(
        self, worker: AwsStub, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If throttles let as many calls through as before, far more of them are made in vain."""
        from petal_lambda.limiter import Limiter

        leave = Limiter.leave
        monkeypatch.setattr(Limiter, "leave", lambda self, entered, throttled=None: leave(self, entered))
        at_once = _Capacity(2)
        worker.always("Invoke", at_once)
        run(tasks.doubles, list(range(60)), batch={"size": 1, "in_flight": 16}).check()
        assert at_once.throttled >= 30


class _Capacity:
    """A function that takes so many calls at a time, each for a while, and turns the others away."""

    def __init__(self, most: int) -> None:
        self.throttled = 0
        self._free = threading.Semaphore(most)

    def __call__(self, stub: Any, call: Any, exchange: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.throttled += 1
            faults.throttled(0)(stub, call, exchange)
            return
        try:
            time.sleep(0.02)
            made = stub.carry_out(call, exchange)
        finally:
            self._free.release()
        exchange.reply(made.status, made.headers, made.body)


# -- F51: the function failed --------------------------------------------------------------------------------------

_TIMED_OUT = {"errorMessage": "2026-11-24T01:00:00.000Z 1b2c Task timed out after 3.00 seconds"}
_SANDBOX = {
    "errorType": "Sandbox.Timedout",
    "errorMessage": "RequestId: 1b2c Error: Task timed out after 3.00 seconds",
}
_MEMORY = {"errorType": "Runtime.OutOfMemory", "errorMessage": "RequestId: 1b2c Error: Runtime exited"}
_EXIT = {
    "errorType": "Runtime.ExitError",
    "errorMessage": "RequestId: 1b2c Error: Runtime exited with error: exit status 1",
}
_KILLED = {
    "errorType": "Runtime.ExitError",
    "errorMessage": "RequestId: 1b2c Error: Runtime exited with error: signal: killed",
}
_RAISED = {
    "errorType": "ValueError",
    "errorMessage": "3 is unusual",
    "requestId": "1b2c",
    "stackTrace": ['  File "/var/task/app.py", line 3, in handler\n    raise ValueError("3 is unusual")\n'],
}
_NO_MODULE = {
    "errorType": "Runtime.ImportModuleError",
    "errorMessage": "Unable to import module 'app'",
    "stackTrace": [],
}
_TOO_LARGE = {
    "errorType": "Function.ResponseSizeTooLarge",
    "errorMessage": "Response payload size exceeded maximum",
}

#: What AWS says of a function that failed, what that is to Petal, and whether it is known what it has done.
ENDINGS = {
    "time-out": (_TIMED_OUT, "timeout", "timeout", False),
    "time-out, newer form": (_SANDBOX, "timeout", "timeout", False),
    "memory": (_MEMORY, "out_of_memory", "worker-died", False),
    "exit": (_EXIT, "infrastructure", "worker-died", False),
    "killed": (_KILLED, "infrastructure", "worker-died", False),
    "raised": (_RAISED, "user", "node-failed", True),
    "no handler": (_NO_MODULE, "infrastructure", "no-worker", True),
    "reply too large": (_TOO_LARGE, "user", "message-too-large", True),
}


class TestFunctionErrors:
    """F51: status 200, and the function has failed."""

    @pytest.mark.parametrize("name", ENDINGS)
    def test_it_is_told_apart_and_never_taken_for_a_result(
        self, name: str, aws_stub: AwsStub, run: Run
    ) -> None:
        """Kind and code say what it was; of what must happen once it is unknown unless it is known."""
        payload, kind, code, known = ENDINGS[name]
        aws_stub.always("Invoke", faults.function_error(payload))
        found = node_of(run(tasks.adds, 1, effects="once", retry=NOW))
        status = Status.FAILED if known else Status.UNKNOWN
        assert (found.status, str(found.error.kind), found.error.code) == (status, kind, code)

    @pytest.mark.parametrize("name", ENDINGS)
    def test_control_boto3_takes_it_for_a_result(self, name: str, aws_stub: AwsStub) -> None:
        """It raises nothing: the error would be handed on as the function's output."""
        aws_stub.always("Invoke", faults.function_error(ENDINGS[name][0]))
        client = plain_client(aws_stub)
        response = client.invoke(FunctionName="f", Payload=b"1")
        assert json.loads(response["Payload"].read()) == ENDINGS[name][0]
        assert response["StatusCode"] == 200
        client.close()

    def test_what_the_users_code_raised_is_shown_with_its_traceback(
        self, aws_stub: AwsStub, run: Run
    ) -> None:
        """A function of the user's own: type, message and lines are there."""
        aws_stub.always("Invoke", faults.function_error(_RAISED))
        error = node_of(run("Does", 1, settings={"protocol": "json"})).error
        assert error.message == "ValueError: 3 is unusual"
        assert "app.py" in error.traceback
        assert error.hint is None

    @pytest.mark.parametrize("payload", [_RAISED, _EXIT, _SANDBOX, _NO_MODULE])
    def test_the_emulators_form_is_an_error_too(self, payload: Any, aws_stub: AwsStub, run: Run) -> None:
        """It sends the same without the header that says that the function has failed."""
        aws_stub.always("Invoke", faults.ok(payload))
        assert run("Does", 1, settings={"protocol": "json"}).status is Status.FAILED

    def test_the_emulators_time_out_is_one(self, aws_stub: AwsStub, run: Run) -> None:
        """It says so in a text that is no JSON, with status 200."""
        aws_stub.always("Invoke", faults.raw(200, b"Task timed out after 3.00 seconds"))
        assert str(node_of(run("Does", 1, settings={"protocol": "json"})).error.kind) == "timeout"

    @pytest.mark.parametrize(
        ("result", "headers"),
        [
            ({"errorType": "x", "errorMessage": "y"}, {}),
            ({"errorType": "ValueError", "errorMessage": "y", "rows": []}, {}),
            ({"errorMessage": "Task timed out after 3.00 seconds"}, {}),
            (_RAISED, {"X-Amz-Executed-Version": "$LATEST"}),
            (_EXIT, {"X-Amz-Executed-Version": "$LATEST"}),
            ("Task timed out after 3.00 seconds", {}),
        ],
    )
    def test_a_result_that_looks_like_an_error_is_a_result(
        self, result: Any, headers: dict[str, str], aws_stub: AwsStub, run: Run
    ) -> None:
        """What a function returns is what it returns; AWS itself marks what has failed."""
        aws_stub.always("Invoke", faults.ok(result, headers))
        assert run("Does", 1, settings={"protocol": "json"}).check().outputs["it"] == result


# -- F52: no reply -------------------------------------------------------------------------------------------------


class TestNoReply:
    """F52: the client's time is over before a reply comes."""

    def test_the_function_is_called_once(self, aws_stub: AwsStub, run: Run) -> None:
        """It is a time-out of one call, whatever the SDK would do."""
        aws_stub.always("Invoke", faults.slow(3))
        found = node_of(run("Does", 1, settings={"protocol": "json"}, timeout=0.5))
        assert (found.error.code, str(found.error.kind)) == ("timeout", "timeout")
        assert "0.5s" in found.error.message
        assert aws_stub.count("Invoke") == 1

    def test_control_boto3_calls_it_several_times(self, aws_stub: AwsStub) -> None:
        """Its default retries a read time-out, although the function may be at work."""
        aws_stub.always("Invoke", faults.slow(3))
        client = plain_client(aws_stub, read_timeout=0.3)
        with pytest.raises(ReadTimeoutError):
            client.invoke(FunctionName="f", Payload=b"1")
        client.close()
        assert aws_stub.count("Invoke") >= 3

    def test_what_may_be_done_twice_is_sent_again_with_the_same_key(self, worker: AwsStub, run: Run) -> None:
        """The outcome is unknown; attempt and key tell the function that it is the same task."""
        worker.answer("Invoke", faults.reset_after())
        result = run(tasks.adds, 1, retry=NOW).check()
        assert (result.outputs["it"], node_of(result).attempts) == (1, 2)
        first, second = requests(worker)
        assert first["key"] == second["key"]
        assert (first["attempt"], second["attempt"]) == (1, 2)

    @pytest.mark.parametrize(
        "fault",
        [
            faults.reset_after(),
            faults.reset_before(),
            faults.internal_error(),
            faults.cut(),
            faults.cut(chunked=True),
            faults.truncated(),
            faults.raw(200, b""),
            faults.raw(200, b"\x00garbage"),
            faults.raw(500, b"<html>proxy</html>"),
            faults.raw(502, b"[1]"),
        ],
        ids=lambda fault: getattr(fault, "__qualname__", "raw").split(".")[0],
    )
    def test_whatever_is_no_reply_leaves_the_outcome_open(
        self, fault: Any, worker: AwsStub, run: Run
    ) -> None:
        """What must happen once stops there: it is sent one time, and its end is unknown."""
        worker.always("Invoke", fault)
        found = node_of(run(tasks.adds, 1, effects="once", retry=NOW, settings={"failover": ["local"]}))
        assert found.status is Status.UNKNOWN
        assert worker.count("Invoke") == 1

    def test_wrong_bytes_of_the_right_length_are_found_where_there_are_keys(
        self, worker: AwsStub, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reply that was changed on its way is no reply; control: without keys nobody can tell."""
        worker.always("Invoke", faults.flipped())
        value = b"\x08\x20\x82" * 20_000  # in base64 no character of it becomes one that is none
        plain = run(tasks.hands_bytes, value)
        assert plain.status == "succeeded"
        assert plain.outputs["it"] != value
        ring = tmp_path / "keys.json"
        ring.write_text(json.dumps({"test": "k" * 48}))
        monkeypatch.setenv("PETAL_KEYRING", str(ring))
        found = node_of(run(tasks.hands_bytes, value, effects="once", retry=NOW))
        assert (found.status, worker.count("Invoke")) == (Status.UNKNOWN, 2)

    def test_a_reply_that_trickles_in_has_an_end(self, aws_stub: AwsStub, run: Run) -> None:
        """Each byte comes in time, but the reply does not."""
        aws_stub.always("Invoke", faults.dribble(0.4, pieces=200))
        aws_stub.function = lambda _: "x" * 200
        from petal_lambda import invoke

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(invoke, "MARGIN", 0.2)
            found = node_of(run("Does", 1, settings={"protocol": "json"}, timeout=0.6))
        assert (found.error.code, aws_stub.count("Invoke")) == ("timeout", 1)

    def test_a_function_that_starts_slowly_is_no_failure_of_the_node(self, worker: AwsStub, run: Run) -> None:
        """F54: the cold start is within the wait; a time that is over is a time-out, never the user's error."""
        worker.answer("Invoke", faults.slow(1))
        assert run(tasks.adds, 1, timeout=1).check().outputs["it"] == 1
        worker.always("Invoke", faults.slow(60))
        assert str(node_of(run(tasks.adds, 1, timeout=0.2)).error.kind) == "timeout"


# -- nothing ran ----------------------------------------------------------------------------------------------------

#: What AWS answers before anything runs: its status and code, and whether another attempt may help.
REFUSALS = [
    (409, "ResourceConflictException", True),
    (409, "SnapStartNotReadyException", True),
    (502, "ENINotReadyException", True),
    (502, "EC2ThrottledException", True),
    (400, "InvalidParameterValueException", False),
    (403, "AccessDeniedException", False),
    (404, "ResourceNotFoundException", False),
    (413, "RequestTooLargeException", False),
    (415, "UnsupportedMediaTypeException", False),
    (502, "InvalidZipFileException", False),
    (502, "KMSAccessDeniedException", False),
]


class TestNothingRan:
    """Answers that say for sure that the function was not called."""

    @pytest.mark.parametrize(("status", "code", "passes"), REFUSALS)
    def test_it_is_tried_again_where_that_may_help(
        self, status: int, code: str, passes: bool, worker: AwsStub, run: Run
    ) -> None:
        """Also what must happen once, since it has not; and it is never called the user's error."""
        worker.always("Invoke", faults.error(status, code, "not now"))
        found = node_of(run(tasks.adds, 1, effects="once", retry=NOW))
        assert (found.status, str(found.error.kind)) == (Status.FAILED, "infrastructure")
        assert code in found.error.message
        assert worker.count("Invoke") == (3 if passes else 1)

    @pytest.mark.parametrize(("status", "code", "passes"), REFUSALS)
    def test_it_moves_on_where_it_can(
        self, status: int, code: str, passes: bool, worker: AwsStub, run: Run
    ) -> None:
        """The next place does it, once."""
        worker.always("Invoke", faults.error(status, code, "not now"))
        result = run(tasks.adds, 1, settings={"failover": ["local"]}).check()
        assert (node_of(result).backend, worker.count("Invoke")) == ("local", 1)

    def test_a_service_that_is_gone_has_not_been_called(self, worker: AwsStub, run: Run) -> None:
        """The connection is refused when the run is under way already."""

        def ends(stub: AwsStub, call: Any, exchange: Any) -> None:
            exchange.hang_up()
            threading.Thread(target=stub.close).start()

        worker.answer("Invoke", ends)
        found = node_of(run(tasks.adds, 1, retry={"max_attempts": 2, "delay": 0.5, "jitter": False}))
        assert found.error.code == "no-lambda"
        assert found.history[0].error.startswith("the connection was lost")


# -- F56: failover after an unknown outcome ------------------------------------------------------------------------


@pytest.mark.parametrize(("effects", "status"), [("once", Status.UNKNOWN), ("idempotent", Status.SUCCEEDED)])
def test_what_may_have_run_moves_on_only_where_that_does_no_harm(
    effects: str, status: Status, worker: AwsStub, run: Run
) -> None:
    """F56: after an unknown outcome a node with `effects: once` goes nowhere."""
    worker.always("Invoke", faults.reset_after())
    result = run(tasks.adds, 1, effects=effects, settings={"failover": ["local"]})
    assert node_of(result).status is status
    assert worker.count("Invoke") == 1


# -- F57: credentials ----------------------------------------------------------------------------------------------


class TestCredentials:
    """F57: credentials that expire, and clocks that differ, in the middle of a run."""

    def test_expired_ones_are_read_anew_once(self, worker: AwsStub, run: Run) -> None:
        """The call was not made, so it is made again with what is there now; no attempt is used up."""
        worker.answer("Invoke", faults.expired_token())
        result = run(tasks.adds, 1).check()
        assert (node_of(result).attempts, worker.count("Invoke")) == (1, 2)

    def test_where_there_are_no_new_ones_the_error_says_so(self, worker: AwsStub, run: Run) -> None:
        """Two calls, and no more."""
        worker.always("Invoke", faults.expired_token())
        found = node_of(run(tasks.adds, 1, retry=NOW))
        assert (found.error.code, worker.count("Invoke")) == ("credentials-expired", 2)
        assert "sso login" in found.error.hint

    def test_a_wrong_clock_is_named(self, worker: AwsStub, run: Run) -> None:
        """By its code, or by the date of AWS's answer, which tells how wrong."""
        worker.answer("Invoke", faults.clock_skewed())
        assert node_of(run(tasks.adds, 1)).error.code == "clock-skew"
        late = {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
        worker.answer("Invoke", faults.error(403, "InvalidSignatureException", "Signature expired: …", late))
        error = node_of(run(tasks.adds, 1)).error
        assert error.code == "clock-skew"
        assert "ahead" in error.message

    def test_control_boto3_asks_again_and_again_for_nothing(self, aws_stub: AwsStub) -> None:
        """Its errors are typed by their code alone."""
        aws_stub.always("Invoke", faults.expired_token())
        client = plain_client(aws_stub)
        with pytest.raises(ClientError, match="ExpiredToken"):
            client.invoke(FunctionName="f", Payload=b"1")
        client.close()


# -- the end of a run ----------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_does_not_wait_for_aws(worker: AwsStub) -> None:
    """Nobody can end a call that AWS has taken; its reply is dropped."""
    worker.always("Invoke", faults.slow(60))
    execution = {"backend": "aws_lambda", "function_name": "f"}
    began = time.monotonic()
    result = Pipeline.of(
        node(giver(1), id="one"),
        node(tasks.adds, id="away", inputs={"value": "one"}, policies={"execution": execution}),
        node(tasks.fails, id="fails", inputs={"value": "one"}),
        session=Session(),
    ).run(fail_fast=True)
    assert time.monotonic() - began < 20
    assert result.nodes["away"].status is Status.CANCELLED


def test_the_session_lets_go_of_its_threads_and_connections(worker: AwsStub, run: Run) -> None:
    """After a run nothing of it is left."""
    run(tasks.doubles, list(range(50)), batch={"size": 5, "in_flight": 4}).check()
    assert not [thread for thread in threading.enumerate() if thread.name == "petal-lambda"]
