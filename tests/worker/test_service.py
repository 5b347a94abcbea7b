"""Tasks that come one by one to a process that lives on: what is kept, when one is stopped, and that a second asking is none."""

from __future__ import annotations

import threading

import pytest

from petal.errors import RemoteError
from petal.worker.service import Service


@pytest.fixture
def service():
    found = Service()
    yield found
    found.close()


def answered(service, project, name, inputs=None, /, seconds=None, **params):
    return project.reply(name, service.answer(project.request(name, inputs, **params), seconds))


class Told:
    """Records that say what they are told to."""

    def __init__(self, known=None):
        self.known = known
        self.ended = []

    def begin(self, request, seconds):
        if isinstance(self.known, BaseException):
            raise self.known
        return self.known

    def end(self, request, reply):
        self.ended.append(reply)


def test_an_operator_that_is_a_class_lives_from_task_to_task(project, service):
    found = [answered(service, project, "Counter", {"x": 1}).value for _ in range(3)]
    assert [count for count, _, _ in found] == [1, 2, 3]


def test_a_task_is_stopped_when_the_time_of_its_process_is_over(project, service):
    """What it has done is not known, and its traceback says where it was; the next task runs."""
    found = answered(service, project, "sleeps", seconds=0.3)
    assert (found.error["kind"], found.error["bases"][0]) == ("timeout", "TimedOut")
    assert "time.sleep(600)" in found.error["traceback"]
    assert answered(service, project, "add", {"x": 1}, seconds=0.3).value == 2


def test_the_earlier_of_two_deadlines_holds(project, service, monkeypatch):
    """The request's own time-out, and what the process has left: the context tells the operator of it as well."""
    monkeypatch.setenv("PETAL_TEST_TOKEN", "a long token")
    for asked, left, least in (
        (50.0, 20.0, 20.0),
        (20.0, 50.0, 20.0),
        (None, 20.0, 20.0),
        (20.0, None, 20.0),
    ):
        data = project.changed("facts", {"deadline": asked})
        found = project.reply("facts", service.answer(data, left))
        assert least - 5 < found.value["remaining"] <= least, (asked, left)


@pytest.mark.parametrize("left", [0, -1])
def test_without_time_nothing_runs(project, service, left):
    found = answered(service, project, "add", {"x": 1}, seconds=left)
    assert (found.error["code"], found.error["kind"]) == ("no-time", "timeout")


def test_off_the_main_thread_a_task_runs_to_its_end(project, service):
    """No signal reaches it there; nothing else is different."""
    found = []
    thread = threading.Thread(
        target=lambda: found.append(answered(service, project, "add", {"x": 1}, seconds=5))
    )
    thread.start()
    thread.join()
    assert found[0].value == 2


def test_a_reply_that_is_known_is_given_again(project):
    """Nothing runs, and nothing is recorded a second time."""
    first = Told()
    service = Service(records=first)
    assert answered(service, project, "Counter", {"x": 1}).value[0] == 1
    (reply,) = first.ended
    service.close()
    again = Service(records=Told(reply))
    assert answered(again, project, "Counter", {"x": 1}).value[0] == 1
    assert again._records.ended == []
    again.close()


def test_what_must_not_be_done_now_is_said_with_its_kind(project):
    service = Service(records=Told(RemoteError("it is being done", kind="throttle", code="in-progress")))
    found = answered(service, project, "add", {"x": 1})
    assert (found.error["kind"], found.error["code"]) == ("throttle", "in-progress")
    service.close()


def test_keys_that_cannot_be_read_are_said_and_nothing_runs(project, service, monkeypatch, tmp_path):
    monkeypatch.setenv("PETAL_KEYRING", str(tmp_path / "nowhere.toml"))
    found = answered(service, project, "add", {"x": 1})
    assert "nowhere.toml" in found.error["message"]


def test_what_is_no_request_is_said(project, service):
    found = project.reply("add", service.answer(b"nonsense"))
    assert "no message of Petal" in found.error["message"]
