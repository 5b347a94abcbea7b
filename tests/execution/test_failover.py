"""Nodes that fail over, through the front door: what moves a node on, what never does, and where each attempt ran."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from petal import WRITES, Context, Pipeline, Session, Status, node, open_output, operator, remote
from petal.data.home import Home
from petal.errors import EnvironmentNotReady, PetalError, RemoteError, TaskLost, TimedOut
from petal.interfaces.backend import Reply, Task
from petal.metadata.history import History, records
from petal.spec.event import AttemptFailed, AttemptSubmitted
from petal.testing import FakeBackend

LOST = TaskLost("its reply was lost")
GONE = EnvironmentNotReady("nobody answers", hint="start it")
NOW = {"max_attempts": 3, "delay": 0}


@operator
def numbers() -> list[int]:
    """Give some numbers."""
    return [1, 2, 3]


@operator
def double(numbers: list[int]) -> list[int]:
    """Double them."""
    return [2 * n for n in numbers]


@operator
def raises(numbers: list[int]) -> list[int]:
    """Fail as a user's code does."""
    raise ValueError(f"{len(numbers)} are too many")


@operator(effects="once")
def pay(numbers: list[int]) -> int:
    """Do what must not happen twice."""
    return sum(numbers)


@operator
def where(numbers: list[int], context: Context) -> tuple[int, int, str]:
    """Say which process this is, which attempt, and the key."""
    return os.getpid(), context.attempt, context.idempotency_key


@operator
def dies(numbers: list[int]) -> list[int]:
    """End the worker process that runs this, but no other one."""
    if os.environ.get("PETAL_TEST_DRIVER") != str(os.getpid()):
        os._exit(7)
    return numbers


@operator
def stream() -> Iterator[int]:
    """Give a stream of numbers."""
    yield from range(1000)


@operator
def doubles(stream: Iterator[int]) -> Iterator[int]:
    """Double each of a stream."""
    for n in stream:
        yield 2 * n


def run(*backends: FakeBackend, of: Any = double, **policies: Any) -> Any:
    """Run a node in places, of which fakes are some, and return the result."""
    arguments = {n: policies.pop(n) for n in ("home", "on_event") if n in policies}
    return pipeline(*backends, of=of, **policies).run(**arguments)


def pipeline(*backends: FakeBackend, of: Any = double, **policies: Any) -> Pipeline:
    session = Session()
    for backend in backends:
        session.register(backend, name=f"test {backend.name}")
    return Pipeline.of(numbers, node(of, id="it", policies=policies), session=session, name="places")


def places(first: Any, *others: Any, **settings: Any) -> dict[str, Any]:
    return {"backend": first, "failover": list(others), **settings}


def nodes_of(backend: FakeBackend) -> list[tuple[int, str]]:
    """Return the attempts that came to a fake, each with its label."""
    return [(sent.attempt, sent.settings.get("label", "")) for sent in backend.sent]


# -- where each attempt ran ---------------------------------------------------------------------------------------


def test_what_is_lost_moves_on_and_everybody_says_where(tmp_path: Path) -> None:
    """Results, events, journal and history say of each attempt where it ran; each place has its own settings."""
    a, b = FakeBackend("a", fails={"it": LOST}), FakeBackend("b")
    told: list[Any] = []
    execution = places("a", {"backend": "b", "label": "second"}, "local", label="first")
    result = run(a, b, execution=execution, home=tmp_path, on_event=told.append).check()
    found = result.nodes["it"]
    assert result.outputs["it"] == [2, 4, 6]
    assert (found.backend, found.attempts) == ("b", 2)
    assert [(t.number, t.backend, t.status, t.kind) for t in found.history] == [
        (1, "a", Status.FAILED, "infrastructure"),
        (2, "b", Status.SUCCEEDED, None),
    ]
    assert nodes_of(a) == [(1, "first")]
    assert nodes_of(b) == [(2, "second")]
    assert {sent.key for sent in (*a.sent, *b.sent)} == {f"{result.run_id}:it"}
    failed = [e for e in told if isinstance(e, AttemptFailed)]
    assert [(e.backend, e.attempt, e.kind, e.unknown, e.wait) for e in failed] == [
        ("a", 1, "infrastructure", True, 0.0)
    ]
    history = History(Home(tmp_path))
    written, _ = records(history.path(result.run_id))
    assert [(e.attempt, e.backend) for e in written if isinstance(e, AttemptSubmitted)] == [
        (1, "a"),
        (2, "b"),
    ]
    shown = next(n for n in history.read(result.run_id).nodes if n.id == "it")
    assert [(t.backend, t.status) for t in shown.attempts] == [("a", "unknown"), ("b", "succeeded")]
    assert shown.backend == "b"


def test_the_last_place_is_this_process() -> None:
    """A node comes back to the engine itself when all other places are down, with the same key and the next attempt."""
    a, b = FakeBackend("a", fails={"it": LOST}), FakeBackend("b", fails={"it": GONE})
    result = run(a, b, of=where, execution=places("a", "b", "local")).check()
    assert result.outputs["it"] == (os.getpid(), 3, f"{result.run_id}:it")
    assert (result.nodes["it"].backend, result.nodes["it"].attempts) == ("local", 3)


def test_when_all_places_are_down_the_last_error_is_the_nodes() -> None:
    """Each place is tried once, in order, and the history has them all."""
    fakes = [FakeBackend(name, fails={"it": TaskLost(f"lost by {name}")}) for name in "abc"]
    result = run(*fakes, execution=places("a", "b", "c"))
    assert result.nodes["it"].status is Status.FAILED
    assert [(t.backend, t.error) for t in result.nodes["it"].history] == [(n, f"lost by {n}") for n in "abc"]


def test_a_decorator_names_places_too() -> None:
    """`@remote(failover=[...])` takes names, and mappings of what needs settings."""
    placed = remote("a", failover=[{"backend": "b", "label": "there"}, "local"])(operator(undecorated))
    a, b = FakeBackend("a", fails={"it": LOST}), FakeBackend("b")
    assert run(a, b, of=placed).check().nodes["it"].backend == "b"
    assert nodes_of(b) == [(2, "there")]


def undecorated(numbers: list[int]) -> list[int]:
    """Double numbers; decorated by a test alone."""
    return [2 * n for n in numbers]


# -- what moves a node on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        TimedOut("it took too long"),
        RemoteError("no memory", type="MemoryError", bases=("Exception",), kind="out_of_memory"),
        RemoteError("wrong", type="ValueError", bases=("Exception",)),
        RemoteError("a program failed"),
        RemoteError("come later", kind="throttle", bases=("DataError",)),
    ],
)
def test_nothing_but_infrastructure_moves_a_node_on(error: PetalError) -> None:
    """DESIGN 5: a time-out, exhausted memory and the user's error would only follow the node to its next place."""
    a, b = FakeBackend("a", fails={"it": error}), FakeBackend("b")
    result = run(a, b, execution=places("a", "b"))
    assert result.nodes["it"].status is Status.FAILED
    assert (len(a.sent), b.sent) == (1, [])


def test_what_the_users_code_raises_there_never_moves_it() -> None:
    """The user's error comes back from the first place, and is the node's."""
    a, b = FakeBackend("a"), FakeBackend("b")
    result = run(a, b, of=raises, execution=places("a", "b", "local"))
    assert result.nodes["it"].error.message == "ValueError: 3 are too many"
    assert (result.nodes["it"].backend, len(a.sent), b.sent) == ("a", 1, [])


def test_abort_on_forbids_to_move() -> None:
    """What `abort_on` names is final everywhere."""
    a, b = FakeBackend("a", fails={"it": LOST}), FakeBackend("b")
    retry = {**NOW, "abort_on": ["infrastructure"]}
    assert run(a, b, execution=places("a", "b"), retry=retry).nodes["it"].status is Status.FAILED
    assert b.sent == []


@pytest.mark.parametrize(("effects", "status"), [("once", Status.UNKNOWN), ("idempotent", Status.SUCCEEDED)])
def test_an_unknown_outcome_of_what_must_happen_once_never_moves(effects: str, status: Status) -> None:
    """DESIGN 5, F56: it may have been done where it was lost; what may be done twice goes on elsewhere."""
    a, b = FakeBackend("a", loses=["it"]), FakeBackend("b")
    result = run(a, b, of=pay, execution=places("a", "b", "local"), effects=effects, retry=NOW)
    assert result.nodes["it"].status is status
    assert len(a.sent) == 1
    assert len(b.sent) == (effects == "idempotent")


def test_what_must_happen_once_moves_on_where_it_cannot_have_happened() -> None:
    """A place that cannot be opened has done nothing, so the next one is asked, also for `effects: once`."""
    a, b = FakeBackend("a", refuses=GONE), FakeBackend("b")
    result = run(a, b, of=pay, execution=places("a", "b")).check()
    assert (result.outputs["it"], result.nodes["it"].backend) == (6, "b")


def test_a_worker_that_dies_moves_a_local_node_with_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out places a local node in a worker process; when that dies, the node goes to its next place."""
    monkeypatch.setenv("PETAL_TEST_DRIVER", str(os.getpid()))
    b = FakeBackend("b")
    result = run(b, of=dies, execution=places("local", "b"), timeout=60).check()
    assert [(t.backend, t.kind) for t in result.nodes["it"].history] == [
        ("process", "infrastructure"),
        ("b", None),
    ]


def test_a_time_out_holds_in_the_last_place_too() -> None:
    """A node with a time-out that comes back to `local` runs in a worker process, where it can be stopped."""
    a = FakeBackend("a", fails={"it": LOST})
    result = run(a, of=where, execution=places("a", "local"), timeout=60).check()
    assert result.outputs["it"][0] != os.getpid()
    assert result.nodes["it"].backend == "process"


def test_retries_are_for_the_place_that_a_node_has_come_to() -> None:
    """A move is made at once and uses up no attempt; then the node has all its attempts, with their waits."""
    broken = RemoteError("not today", type="OSError", bases=("Exception",))
    a, b = FakeBackend("a", fails={"it": LOST}), FakeBackend("b", fails={"it": broken})
    retry = {"max_attempts": 3, "delay": 0.01, "jitter": False, "backoff": 2}
    found = run(a, b, execution=places("a", "b"), retry=retry).nodes["it"]
    assert [(t.backend, t.wait) for t in found.history] == [
        ("a", 0.0),
        ("b", pytest.approx(0.01, abs=0.01)),
        ("b", pytest.approx(0.02, abs=0.01)),
        ("b", None),
    ]


def test_a_stream_is_given_again_in_the_next_place() -> None:
    """S4.3: the input of a node that may move is held, so that the next place gets all rows."""
    session, a, b = Session(), FakeBackend("a", loses=["it"]), FakeBackend("b")
    for backend in (a, b):
        session.register(backend, name=backend.name)
    policies = {"execution": places("a", "b")}
    made = Pipeline.of(stream, node(doubles, id="it", policies=policies), session=session)
    result = made.run().check()
    assert result.outputs["it"] == [2 * n for n in range(1000)]
    assert result.nodes["it"].backend == "b"


@operator(effects="idempotent")
def write(numbers: list[int], context: Context, *, path: Annotated[Path, WRITES]) -> None:
    """Write numbers, and die halfway in a worker process."""
    with open_output(path, context) as file:
        file.write(b"half")
        file.flush()
        dies(numbers)
        file.write(f"{numbers}".encode())


def test_a_file_is_whole_wherever_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lost attempt has written is dropped; the next place writes all of it (G1)."""
    monkeypatch.setenv("PETAL_TEST_DRIVER", str(os.getpid()))
    policies = {"execution": places("process", "local")}
    made = Pipeline.of(numbers, node(write, params={"path": tmp_path / "out.txt"}, policies=policies))
    result = made.run().check()
    assert [t.backend for t in result.nodes["write"].history] == ["process", "local"]
    assert (tmp_path / "out.txt").read_text() == "half[1, 2, 3]"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


# -- before anything runs -----------------------------------------------------------------------------------------


def test_a_node_that_can_run_nowhere_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    """Everything that is missing is named at once; no node has run and no journal was begun."""
    a, b = FakeBackend("a", refuses=GONE), FakeBackend("b", refuses=EnvironmentNotReady("no image x:1"))
    told: list[Any] = []
    with pytest.raises(EnvironmentNotReady) as raised:
        run(a, b, execution=places("a", "b"), home=tmp_path, on_event=told.append)
    assert raised.value.message == (
        "`it` cannot run on `a`: nobody answers; `it` cannot run on `b`: no image x:1"
    )
    assert raised.value.hint == "start it"
    assert told == []
    assert list((tmp_path / "runs").glob("*")) == []


def test_what_a_backend_raises_when_it_is_opened_is_no_traceback() -> None:
    """An error of a plugin's own is told as what it is: the backend cannot be opened."""
    a = FakeBackend("a", refuses=ConnectionRefusedError("port 1"))  # type: ignore[arg-type]
    with pytest.raises(EnvironmentNotReady, match="cannot be opened: ConnectionRefusedError: port 1"):
        run(a, execution="a")


def test_a_place_to_fail_over_to_that_is_missing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """A run whose node has a place to run in begins, and says which others are not there."""
    a, b = FakeBackend("a"), FakeBackend("b", refuses=GONE)
    with caplog.at_level(logging.WARNING, "petal"):
        assert run(a, b, execution=places("a", "b")).check().nodes["it"].backend == "a"
    assert [r.getMessage() for r in caplog.records] == ["it cannot fail over to `b`: nobody answers"]


def test_a_place_is_opened_once_and_what_is_not_needed_is_closed() -> None:
    """Nodes with the same settings share a session; one that nobody came to is closed at the end."""
    opened: list[str] = []
    closed: list[str] = []

    class Counted(FakeBackend):
        def open(self, settings: Any, folder: str | None) -> Any:
            session, close = super().open(settings, folder), None
            opened.append(f"{self.name} {settings.label}")
            close = session.close

            def counted(grace: float) -> None:
                closed.append(f"{self.name} {settings.label}")
                close(grace)

            session.close = counted  # type: ignore[method-assign]
            return session

    a, b = Counted("a"), Counted("b")
    session = Session()
    session.register(a, name="a")
    session.register(b, name="b")
    policies = {"execution": places("a", {"backend": "b", "label": "spare"}, label="x")}
    made = Pipeline.of(
        numbers,
        node(double, id="one", policies=policies),
        node(double, id="two", policies=policies),
        session=session,
    )
    made.run().check()
    assert sorted(opened) == sorted(closed) == ["a x", "b spare"]


def test_what_is_given_or_not_wanted_needs_no_backend() -> None:
    """A node whose value is given, or that no target needs, is not asked for a place."""
    made = pipeline(FakeBackend("a", refuses=GONE), execution="a")
    assert made.run(overrides={"it": [5]}).check().outputs["it"] == [5]
    assert made.run(targets=["numbers"]).check().outputs["numbers"] == [1, 2, 3]


# -- batches ------------------------------------------------------------------------------------------------------


class Sometimes(FakeBackend):
    """Fails some of its calls."""

    def __init__(self, name: str, error: PetalError, calls: set[int]) -> None:
        super().__init__(name)
        self._error, self._calls, self._count = error, calls, 0

    def answer(self, task: Task, message: bytes) -> Reply:
        """Answer, or fail."""
        self._count += 1
        if self._count in self._calls:
            raise self._error
        return super().answer(task, message)


def in_batches(*backends: FakeBackend, in_flight: int = 1, **more: Any) -> Any:
    session = Session()
    for backend in backends:
        session.register(backend, name=backend.name)
    policies = {
        "execution": places("a", "b", "local"),
        "batch": {"size": 100, "in_flight": in_flight},
        **more,
    }
    return Pipeline.of(stream, node(doubles, id="it", policies=policies), session=session).run()


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_lost_call_of_a_batch_moves_alone(in_flight: int) -> None:
    """The call goes to its next place, all others stay in the first; the rows keep their order."""
    a, b = Sometimes("a", LOST, {3, 7}), FakeBackend("b")
    result = in_batches(a, b, in_flight=in_flight).check()
    assert result.outputs["it"] == [2 * n for n in range(1000)]
    assert (len(a.sent), len(b.sent)) == (10, 2)
    assert [sent.attempt for sent in b.sent] == [2, 2]
    assert result.nodes["it"].backend == "a, b"


def test_a_place_that_cannot_be_used_is_left_by_all_calls_that_follow() -> None:
    """Nobody waits a thousand times for an engine that is not there; what is left says where its calls ran."""
    a, b = Sometimes("a", GONE, set(range(4, 99))), FakeBackend("b")
    result = in_batches(a, b, retry={"max_attempts": 2, "delay": 0}).check()
    assert result.outputs["it"] == [2 * n for n in range(1000)]
    assert (len(a.sent), len(b.sent)) == (4, 7)
    assert result.nodes["it"].backend == "a, b"


def test_calls_that_begin_elsewhere_have_the_attempts_that_they_would_have_had() -> None:
    """`retry: 2` is two attempts in the place that is left, not three, whether or not the call has tried another one."""
    broken = RemoteError("not today", type="OSError", bases=("Exception",))
    a, b = FakeBackend("a", refuses=GONE), Sometimes("b", broken, {2, 3, 4})
    result = in_batches(a, b, retry={"max_attempts": 2, "delay": 0})
    assert result.nodes["it"].status is Status.FAILED
    assert "rows 101 to 200" in result.nodes["it"].error.message
    assert len(b.sent) == 3


def test_a_users_error_in_a_batch_moves_nothing() -> None:
    """What the user's code raises for some rows fails the node where it was raised."""
    a, b = Sometimes("a", RemoteError("bad row", type="ValueError"), {2}), FakeBackend("b")
    result = in_batches(a, b)
    assert result.nodes["it"].status is Status.FAILED
    assert b.sent == []


# -- caches and resumed runs --------------------------------------------------------------------------------------


def test_what_was_made_elsewhere_is_cached_as_ever(tmp_path: Path) -> None:
    """An output does not depend on where it was made: the second run finds it, and needs none of the places' work."""
    a, b = FakeBackend("a", fails={"it": LOST}), FakeBackend("b")
    made = pipeline(a, b, execution=places("a", "b"), cache=True)
    first = made.run(home=tmp_path).check()
    assert (first.nodes["it"].backend, first.nodes["it"].cached) == ("b", False)
    again = made.run(home=tmp_path).check()
    assert again.nodes["it"].cached
    assert again.outputs["it"] == [2, 4, 6]
    assert (len(a.sent), len(b.sent)) == (1, 1)
    elsewhere = pipeline(b, execution="b", cache=True).run(home=tmp_path).check()
    assert elsewhere.nodes["it"].cached


class Later(FakeBackend):
    """Can be switched off and on."""

    error: PetalError | None = None

    def answer(self, task: Task, message: bytes) -> Reply:
        """Answer, or fail."""
        if self.error is not None:
            raise self.error
        return super().answer(task, message)


@operator(effects="once")
def charge(it: list[int]) -> int:
    """Do what must not happen twice, with what the first node gave."""
    return sum(it)


def test_a_run_is_resumed_behind_what_has_failed_over(tmp_path: Path) -> None:
    """What ran in its second place is stored and used again; the node that failed everywhere goes its way from the start."""
    a, b = FakeBackend("a", fails={"it": LOST}), Later("b")
    session = Session()
    for backend in (a, b):
        session.register(backend, name=backend.name)
    made = Pipeline.of(
        numbers,
        node(double, id="it", policies={"execution": places("a", "local"), "cache": True}),
        node(charge, policies={"execution": places("b"), "retry": False}),
        session=session,
    )
    b.error = RemoteError("card refused", type="ValueError", bases=("Exception",))
    stopped = made.run(home=tmp_path)
    assert stopped.nodes["charge"].status is Status.FAILED
    b.error = None
    result = made.run(home=tmp_path, resume=stopped.run_id).check()
    assert result.outputs["charge"] == 12
    assert len(a.sent) == 1
    history = History(Home(tmp_path)).read(stopped.run_id)
    ran = {n.id: [(t.backend, t.status) for t in n.attempts] for n in history.nodes}
    assert ran["it"] == [("a", "unknown"), ("local", "succeeded")]
    assert [where for where, _ in ran["charge"]] == ["b", "b"]


# -- secrets ------------------------------------------------------------------------------------------------------


def test_a_secret_among_settings_reaches_the_backend_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8.3: settings hold references to secrets; who opens the backend resolves them, and no journal has them."""
    monkeypatch.setenv("TOKEN_OF_TEST", "s3cr3t-v4lue")
    seen: list[str] = []

    class Asks(FakeBackend):
        def open(self, settings: Any, folder: str | None) -> Any:
            seen.append(settings.label)
            return super().open(settings, folder)

    a = Asks("a")
    made = pipeline(a, execution={"backend": "a", "label": "${secret:env/TOKEN_OF_TEST}"})
    result = made.run(home=tmp_path).check()
    assert seen == ["s3cr3t-v4lue"]
    assert nodes_of(a) == [(1, "s3cr3t-v4lue")]
    assert "s3cr3t" not in str(made.plan())
    assert "s3cr3t" not in (tmp_path / "runs" / f"{result.run_id}.jsonl").read_text()
    monkeypatch.delenv("TOKEN_OF_TEST")
    with pytest.raises(EnvironmentNotReady, match="TOKEN_OF_TEST` is not set"):
        made.run(home=tmp_path)
