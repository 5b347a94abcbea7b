"""The function itself, called as AWS's runtime calls it: its time, its duplicates, its warm operators, its large replies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from petal_lambda import handler as module
from petal_lambda.envelope import LIMIT, body_of, envelope, room, wrapped
from petal_lambda.handler import Function, NotForPetal
from petal_lambda.records import VARIABLE

from petal import WireError
from petal.code.loader import forget_projects, load_file, reference
from petal.data.values import decode_port, encode_port
from petal.data.wire import Outgoing, unpack
from petal.spec.signature import describe

OPERATORS = """\
import pathlib, time
from petal import operator

here = pathlib.Path(__file__).parent

def note():
    with (here / "ran").open("a") as file:
        file.write("x")

@operator
def doubles(value: int) -> int:
    note()
    return 2 * value

@operator
def fails(value: int) -> int:
    note()
    if not (here / "mended").exists():
        raise ValueError("no")
    return value

@operator
def waits(value: int) -> int:
    note()
    while not (here / "go").exists():
        time.sleep(0.01)
    return value

@operator
def swallows(value: int) -> int:
    note()
    for _ in range(value):
        try:
            time.sleep(0.05)
        except Exception:
            pass
    return value

@operator
class Counts:
    def __init__(self) -> None:
        note()
        self.calls = 0

    def process(self, value: int) -> int:
        self.calls += 1
        return self.calls

@operator
def large(value: int) -> bytes:
    return b"x" * value
"""


class Context:
    """What AWS's runtime tells of a call, as far as anybody asks."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class Remote:
    """Operators, requests for them, and the replies to these.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "operators.py").write_text(OPERATORS)
        self._module = load_file(folder / "operators.py")

    def request(self, name: str, value: int, **header: Any) -> dict[str, Any]:
        """Return the event that asks for a task; two of one name are two attempts of one task, if not the same."""
        target = getattr(self._module, name)
        spec = describe(target)
        (port,) = spec.inputs
        with Outgoing() as message:
            given = encode_port(value, port.annotation, port.seen, message.spool, port.name)
            message.write(
                {
                    "petal": 1,
                    "operator_id": name,
                    "type": spec.name,
                    "reference": msgspec.to_builtins(reference(target)),
                    "folders": [str(self.folder)],
                    "inputs": {port.name: given},
                    "run": "20260101T000000Z-0123abcd",
                    "attempt": 1,
                    "key": f"run:{name}",
                }
                | header
            )
            return envelope(message.packed())

    def reply(self, name: str, event: dict[str, Any]) -> Any:
        """Read a reply: its header's keys as attributes, and ``value``."""
        message = unpack(body_of(event))
        found = SimpleNamespace(**message.header)
        (port,) = describe(getattr(self._module, name)).outputs
        if found.status == "ok":
            found.value = decode_port(found.output, port.annotation, port.seen, message.parts, "output")
        return found

    @property
    def ran(self) -> int:
        """How often operators have run."""
        path = self.folder / "ran"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    yield Remote(tmp_path)
    forget_projects()


@pytest.fixture
def function() -> Iterator[Function]:
    """A sandbox."""
    found = Function()
    yield found
    found.close()


def call(
    function: Function, remote: Remote, name: str, value: int, seconds: float = 60.0, **header: Any
) -> Any:
    return remote.reply(name, function(remote.request(name, value, **header), Context(seconds)))


# -- the envelope ---------------------------------------------------------------------------------------------


def test_an_envelope_is_json_and_gives_the_message_back() -> None:
    message = bytes(range(256)) * 3
    assert body_of(msgspec.json.decode(wrapped(message))) == body_of(envelope(message)) == message


@pytest.mark.parametrize("limit", [100, 101, 4096, LIMIT])
def test_what_has_room_is_no_larger_than_the_limit_as_json(limit: int) -> None:
    """Also with the spaces that AWS's runtime writes; four bytes more have none."""
    found = len(wrapped(b"x" * room(limit))) + 2
    assert limit - 4 < found <= limit


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        None,
        "text",
        {"petal": 1},
        {"petal": 1, "body": 1},
        {"petal": 1, "body": "é"},
        {"petal": 2, "body": ""},
    ],
)
def test_what_is_no_envelope_is_refused(event: Any, function: Function) -> None:
    """The exception is what AWS shows as the function's error: it says what the function is and who may call it."""
    with pytest.raises(WireError):
        body_of(event)
    with pytest.raises(NotForPetal, match="this function is a worker of Petal"):
        function(event, Context())


def test_a_message_that_is_none_of_petal_gets_a_reply_that_says_so(function: Function) -> None:
    reply = unpack(body_of(function(envelope(b"nonsense"), Context()))).header
    assert "no message of Petal" in reply["error"]["message"]


# -- warm -----------------------------------------------------------------------------------------------------


def test_an_operator_that_is_a_class_is_kept_from_call_to_call(function: Function, remote: Remote) -> None:
    """What its `__init__` loads, a sandbox loads once; control: a new sandbox loads it anew."""
    found = [call(function, remote, "Counts", 0, key=f"run:{n}").value for n in range(3)]
    assert found == [1, 2, 3]
    assert remote.ran == 1
    other = Function()
    assert call(other, remote, "Counts", 0).value == 1
    assert remote.ran == 2
    other.close()


# -- time -----------------------------------------------------------------------------------------------------


def test_a_task_that_takes_too_long_is_stopped_before_its_sandbox(function: Function, remote: Remote) -> None:
    """The reply is a typed time-out: what the task has done is not known. The next task in this sandbox runs."""
    found = call(function, remote, "waits", 1, 0.5)
    assert (found.error["kind"], found.error["code"]) == ("timeout", "timeout")
    assert found.error["bases"][0] == "TimedOut"
    assert "0.45s" in found.error["message"]
    assert call(function, remote, "doubles", 1).value == 2


def test_the_timeout_of_a_node_stops_a_task_too(function: Function, remote: Remote) -> None:
    """The function's own time may be much longer, and nobody waits for the reply any more."""
    found = call(function, remote, "waits", 1, 60.0, deadline=0.2)
    assert found.error["kind"] == "timeout"
    assert "0.2s" in found.error["message"]


def test_code_that_swallows_exceptions_is_stopped_as_well(function: Function, remote: Remote) -> None:
    """It would go on for minutes."""
    assert call(function, remote, "swallows", 10_000, 0.5).error["kind"] == "timeout"


def test_with_time_enough_the_same_code_ends_by_itself(function: Function, remote: Remote) -> None:
    """The control: nothing but the time stops it."""
    assert call(function, remote, "swallows", 2, 60.0).value == 2


@pytest.mark.parametrize("seconds", [0.0, -1.5])
def test_no_time_left_is_expired(function: Function, remote: Remote, seconds: float) -> None:
    """Zero and less, of which a naive deadline would make "at once" or "never": nothing runs, and the reply says that."""
    found = call(function, remote, "doubles", 1, seconds)
    assert (found.error["kind"], found.error["code"]) == ("timeout", "no-time")
    assert "TaskLost" not in found.error["bases"]
    assert remote.ran == 0


# -- duplicates (F55) -----------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "store"])
def records(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where records are: in a sandbox, or in a store that all sandboxes see."""
    if request.param == "store":
        monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/records")
    return str(request.param)


@pytest.mark.usefixtures("records")
def test_a_task_that_is_delivered_twice_is_done_once(function: Function, remote: Remote) -> None:
    """The second delivery gets the reply of the first."""
    first = call(function, remote, "doubles", 4)
    second = call(function, remote, "doubles", 4)
    assert (first.value, second.value, remote.ran) == (8, 8, 1)


def test_without_the_record_it_would_be_done_twice(
    function: Function, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with the defence switched off, both deliveries run."""
    monkeypatch.setattr(module.Records, "begin", lambda *_: None)
    call(function, remote, "doubles", 4)
    call(function, remote, "doubles", 4)
    assert remote.ran == 2


@pytest.mark.usefixtures("records")
def test_two_deliveries_at_the_same_time_are_done_once(function: Function, remote: Remote) -> None:
    """Whoever comes second is asked to come back later, and then gets the reply."""
    thread = threading.Thread(target=call, args=(function, remote, "waits", 7))
    thread.start()
    while not remote.ran:
        time.sleep(0.01)
    other = Function()
    other._service._records = function._service._records
    found = call(other, remote, "waits", 7)
    assert (found.error["kind"], found.error["code"]) == ("throttle", "in-progress")
    (remote.folder / "go").touch()
    thread.join()
    assert call(other, remote, "waits", 7, attempt=2).value == 7
    assert remote.ran == 1
    other.close()


@pytest.mark.usefixtures("records")
def test_another_task_with_the_same_key_is_refused(function: Function, remote: Remote) -> None:
    """It is neither done nor given the reply of the first."""
    call(function, remote, "doubles", 4)
    for attempt in (1, 2):
        found = call(function, remote, "doubles", 5, attempt=attempt)
        assert found.error["code"] == "other-task"
    assert remote.ran == 1


@pytest.mark.usefixtures("records")
def test_an_attempt_after_a_lost_reply_gets_it(function: Function, remote: Remote) -> None:
    """The task was done although nobody heard of it: another attempt, with the same key, does not do it again."""
    call(function, remote, "doubles", 4)
    assert call(function, remote, "doubles", 4, attempt=3).value == 8
    assert call(function, remote, "doubles", 4, attempt=3).value == 8
    assert remote.ran == 1


@pytest.mark.usefixtures("records")
def test_an_attempt_after_a_failure_is_made(function: Function, remote: Remote) -> None:
    """A failure is an answer to the attempt that failed, and to none that follows it."""
    assert call(function, remote, "fails", 4).error["type"] == "ValueError"
    (remote.folder / "mended").touch()
    assert call(function, remote, "fails", 4).error["type"] == "ValueError"
    assert remote.ran == 1
    assert call(function, remote, "fails", 4, attempt=2).value == 4
    assert remote.ran == 2


def test_what_a_sandbox_that_was_stopped_has_begun_is_not_known(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same attempt is not done again; a later one is, since who sends it knows that. Until then, it may be at work."""
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/records")
    dead, function = Function(), Function()
    with monkeypatch.context() as patch:
        patch.setattr(module.Records, "end", lambda *_: None)
        call(dead, remote, "doubles", 4)
    assert call(function, remote, "doubles", 4).error["code"] == "in-progress"
    now = time.time
    monkeypatch.setattr("petal_lambda.records.time.time", lambda: now() + 120)
    found = call(function, remote, "doubles", 4)
    assert (found.error["bases"][0], found.error["kind"]) == ("TaskLost", "infrastructure")
    assert remote.ran == 1
    assert call(function, remote, "doubles", 4, attempt=2).value == 8
    assert remote.ran == 2
    dead.close()
    function.close()


def test_a_store_of_records_that_does_not_work_keeps_tasks_from_running(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs that could run twice; the error names the variable."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/file/records")
    function = Function()
    found = call(function, remote, "doubles", 4)
    assert (found.error["code"], found.error["kind"]) == ("no-record", "infrastructure")
    assert VARIABLE in found.error["hint"]
    assert remote.ran == 0
    monkeypatch.setenv(VARIABLE, "nonsense")
    other = Function()
    assert "no URL of a store" in call(other, remote, "doubles", 4).error["message"]
    function.close()
    other.close()


def test_a_record_that_was_tampered_with_is_not_believed(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a keyring, what lies in the store is signed; a reply that somebody else has put there is never handed on."""
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/records")
    function = Function()
    call(function, remote, "doubles", 4)
    (path,) = (tmp_path / "records").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = call(function, remote, "doubles", 4)
    assert found.status == "error"
    assert remote.ran == 1
    function.close()


def test_memory_does_not_grow_with_the_number_of_tasks(function: Function, remote: Remote) -> None:
    """The oldest records are forgotten."""
    for number in range(300):
        call(function, remote, "doubles", number, key=f"run:{number}")
    assert len(function._service._records._store._values) <= 256  # type: ignore[union-attr]


# -- large replies (F53) --------------------------------------------------------------------------------------


def test_a_reply_that_is_too_large_for_lambda_is_an_error_that_says_so(
    function: Function, remote: Remote
) -> None:
    """It is decided on what is sent: 4.8 MB are too much, since base64 makes 6.4 MB of them."""
    assert len(call(function, remote, "large", 4_700_000).value) == 4_700_000
    found = call(function, remote, "large", 4_800_000, key="other")
    assert found.error["code"] == "message-too-large"
    assert "claims" in found.error["hint"]


def test_a_reply_that_is_too_large_lies_in_the_store_that_the_function_knows(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETAL_CLAIMS", f"file://{tmp_path}/claims")
    function = Function()
    reply = function(remote.request("large", 50 << 20), Context())
    assert len(reply["body"]) < 2000
    (lying,) = (tmp_path / "claims/out").iterdir()
    assert lying.stat().st_size > 50 << 20
    function.close()
