"""`BackendContract` on the engine itself, on worker processes, and on the fake."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec
import pytest

from petal import NodeFailed, Pipeline, WorkerDied, node
from petal.interfaces.backend import Plain
from petal.testing import BackendContract, FakeBackend, tasks
from petal.testing.kinds import HANDS, KINDS, Kind
from petal.testing.place import Place, Programs, outputs_of
from petal.testing.subject import giver

#: How the fake runs the program that speaks plain JSON.
ECHO = {"command": [sys.executable, "-m", "petal.testing.echo"]}


class TestLocal(BackendContract):
    backend = "local"


@pytest.mark.slow
class TestProcess(BackendContract):
    backend = "process"
    settings = {"workers": 2}


class TestFake(BackendContract):
    backend = FakeBackend()
    program = ECHO


FAILING = """
from petal import Pipeline, node

def three() -> int:
    return 3

def helper(value):
    return 1 / (value - 3)

def divides(three: int) -> float:
    return helper(three)

pipeline = Pipeline.of(three, node(divides, policies=POLICIES))
"""


def test_a_traceback_shows_the_users_frames_wherever_the_node_ran(tmp_path: Path) -> None:
    """Those of the file, the helper's included, and none of Petal's."""
    shown = []
    for i, policies in enumerate([{}, {"execution": {"backend": "process"}}]):
        file = tmp_path / f"failing{i}" / "failing.py"
        file.parent.mkdir()
        file.write_text(FAILING.replace("POLICIES", repr(policies)))
        error = Pipeline.from_file(file).run().nodes["divides"].error
        assert error is not None
        assert error.message == "ZeroDivisionError: division by zero"
        assert "return helper(three)" in error.traceback
        assert "petal/" not in error.traceback
        shown.append(error.traceback.replace(f"failing{i}", ""))
    assert shown[0] == shown[1]


# -- positive controls: a backend that does what a contract forbids is found ------------------------------------------


class Mutes(FakeBackend):
    """Gives every task the same reply."""

    def answer(self, task, message):  # type: ignore[no-untyped-def]
        return super().answer(task, self.sent[0].message)


class Swaps(FakeBackend):
    """Gives the second value in place of the first."""

    def answer(self, task, message):  # type: ignore[no-untyped-def]
        while task.node == "value0" and "value1" not in [sent.node for sent in self.sent]:
            time.sleep(0.001)
        other = next((sent.message for sent in self.sent if sent.node == "value1"), message)
        return super().answer(task, other if task.node == "value0" else message)


class Reverses(FakeBackend):
    """Gives programs their inputs in the wrong order."""

    def take(self, task):  # type: ignore[no-untyped-def]
        plain = task.payload.plain
        inputs = json.dumps(json.loads(plain.stdin)[::-1]).encode()
        message = super().take(task)
        self.sent[-1] = msgspec.structs.replace(self.sent[-1], plain=Plain(inputs, plain.environment))
        return message

    def answer(self, task, message):  # type: ignore[no-untyped-def]
        sent = next(one for one in self.sent if one.node == task.node)
        return task.payload.answered(
            json.dumps({"inputs": json.loads(sent.plain.stdin), "params": {}}).encode()
        )


def test_inputs_of_a_program_in_another_order_are_found() -> None:
    """By the test of plain JSON, which passes on the fake itself."""
    contract = BackendContract()
    contract.test_a_program_gets_and_gives_plain_json(Programs(Place(FakeBackend(), {}), ECHO))
    with pytest.raises(AssertionError, match="what the program got"):
        contract.test_a_program_gets_and_gives_plain_json(Programs(Place(Reverses(), {}), ECHO))


class Mumbles(FakeBackend):
    """Takes what is no JSON, and a program's failure, for an output."""

    def answer(self, task, message):  # type: ignore[no-untyped-def]
        return task.payload.answered(b"null")


def test_failures_of_a_program_that_are_passed_over_are_found() -> None:
    """By the test of programs that fail."""
    with pytest.raises(AssertionError, match="but its program failed"):
        BackendContract().test_a_program_that_fails_or_does_not_write_json_is_an_error(
            Programs(Place(Mumbles(), {}), ECHO)
        )


def test_replies_that_belong_to_other_requests_are_found() -> None:
    """By the test of twenty tasks at once."""
    with pytest.raises((AssertionError, NodeFailed)):
        BackendContract().test_twenty_tasks_at_once_do_not_get_mixed_up(Place(Mutes(), {}))


@pytest.mark.parametrize("kind", ["bool", "Decimal", "Enum", "datetime with a zone"])
def test_another_value_of_the_right_type_is_found(kind: str) -> None:
    """By the test of values: a report that says so, and a failure."""
    said: list[str] = []
    [found] = [k for k in KINDS if k.name == kind]
    with pytest.raises(AssertionError, match="is not"):
        BackendContract().test_values_of_each_type_arrive_as_they_are(Place(Swaps(), {}), found, said.append)
    assert "FAILED: value0" in said[0]


@pytest.mark.parametrize(
    ("name", "sample"),
    [("float", "1.5"), ("int", "1")],
    ids=lambda found: found if isinstance(found, str) else "",
)
def test_a_value_of_another_type_is_found(name: str, sample: object) -> None:
    """What does not fit its annotation is an error on the way, not another value."""
    kind = Kind(
        name=name, annotation=HANDS[name].value.__annotations__["value"], samples=[sample], items=False
    )
    with pytest.raises(AssertionError, match=f"on `fake`, {name}"):
        outputs_of(Place(FakeBackend(), {}), kind)


# -- the fake ----------------------------------------------------------------------------------------------------------


def run_on(fake: FakeBackend, **policies: object):  # type: ignore[no-untyped-def]
    place = Place(fake, {})
    return place.run(
        node(giver(1), id="one"),
        place.node(tasks.adds, "it", policies, value="one"),
        place.node(tasks.adds, "beside", value="one"),
    )


def test_the_fake_keeps_what_was_sent() -> None:
    """Node, attempt, settings and the message itself."""
    fake = FakeBackend()
    assert run_on(fake).check().outputs["it"] == 1
    assert {(s.node, s.attempt) for s in fake.sent} == {("it", 1), ("beside", 1)}
    assert all(b"adds" in s.message for s in fake.sent)


def test_the_fake_fails_and_loses_replies_when_it_is_told_to() -> None:
    """Only the node concerned fails, and says why."""
    told = FakeBackend(fails={"it": WorkerDied("it was killed by the test")}, loses={"beside"})
    result = run_on(told)
    assert result.nodes["it"].error.message == "it was killed by the test"
    assert "by the fake `fake`" in result.nodes["beside"].error.message
    assert result.nodes["one"].status == "succeeded"


def test_the_fake_has_a_limit() -> None:
    """A message above it is refused before it is sent."""
    result = run_on(FakeBackend(limit=10))
    error = result.nodes["it"].error
    assert "carries at most 10" in error.message
    assert (error.code, error.kind) == ("message-too-large", "infrastructure")


def test_the_fake_can_be_slow() -> None:
    """Tasks that wait do so at the same time."""
    assert run_on(FakeBackend(delay=0.05)).check().outputs["beside"] == 1
