"""Messages that are too large for their transport lie in a store, and nothing else is read there (F41, F43, F44, F79)."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from petal import ClaimExpired, Claims, Pipeline, RemoteError, Session, WireError, hookimpl, node
from petal.data import claims as module
from petal.data.folder_store import FolderStore, open_folder
from petal.data.framing import joined, split
from petal.execution.result import RunResult
from petal.testing import FakeBackend
from petal.worker.execute import execute

LIMIT = 20_000
DATA = os.urandom(50_000)


def given() -> bytes:
    return DATA


def back(given: bytes) -> bytes:
    return given


class Faulty(FolderStore):
    """A store whose gets are changed as the test says, one after the other."""

    faults: list[Callable[[bytes], bytes | None]] = []
    always: Callable[[bytes], bytes | None] | None = None
    gets: list[str] = []

    def get(self, key: str) -> bytes | None:
        found = super().get(key)
        if found is None:
            return None
        data = found if isinstance(found, bytes) else found.read()
        self.gets.append(str(self.folder))
        fault = self.faults.pop(0) if self.faults else self.always
        return data if fault is None else fault(data)


class Brings:
    """Brings the stores of `faulty://`, each of a folder."""

    @hookimpl
    def petal_stores(self) -> dict[str, Any]:
        return {"faulty": lambda url: Faulty(open_folder(url.replace("faulty:", "file:")).folder)}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Faulty, "faults", [])
    monkeypatch.setattr(Faulty, "always", None)
    monkeypatch.setattr(Faulty, "gets", [])
    return (tmp_path / "claims").as_uri().replace("file:", "faulty:")


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETAL_KEYRING", "env:KEYS")
    monkeypatch.setenv("KEYS", json.dumps({"2026-11": "k" * 40}))


def run(backend: FakeBackend, claims: str | None, **policies: Any) -> RunResult:
    session = Session()
    session.register(backend)
    session.register(Brings())
    settings = {} if claims is None else {"claims": claims}
    policies = {"execution": {"backend": backend.name, **settings}, **policies}
    return Pipeline.of(given, node(back, policies=policies), session=session).run()


def place(tmp_path: Path) -> str:
    return (tmp_path / "claims").as_uri()


def left(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "claims").rglob("*") if path.is_file()]


@pytest.mark.parametrize("signed", [False, True])
def test_a_large_value_goes_and_comes_through_the_store(
    tmp_path: Path, request: pytest.FixtureRequest, signed: bool
) -> None:
    """What is sent is small, the value is whole, and nothing is left in the store after the run."""
    if signed:
        request.getfixturevalue("sealed")
    backend = FakeBackend(limit=LIMIT)
    assert run(backend, place(tmp_path)).check().outputs["back"] == DATA
    (sent,) = backend.sent
    assert len(sent.message) < 2000
    assert sent.message.startswith(b"PTS1" if signed else b"PTL1")
    assert left(tmp_path) == []


def test_what_fits_never_sees_the_store(tmp_path: Path) -> None:
    """A message within the limit goes as it is: not even the store's folder is made."""
    backend = FakeBackend(limit=200_000)
    assert run(backend, place(tmp_path)).check().outputs["back"] == DATA
    assert not (tmp_path / "claims").exists()


def test_without_a_place_the_error_names_the_remedies() -> None:
    """It is known that nothing ran: another place may take it, another attempt here would not help."""
    found = run(FakeBackend(limit=LIMIT), None, retry=3).nodes["back"]
    error = found.error
    assert error is not None
    assert (error.code, error.kind, found.attempts) == ("message-too-large", "infrastructure", 1)
    assert "claims" in (error.hint or "")
    assert "batch" in (error.hint or "")


def test_what_is_too_large_here_fails_over() -> None:
    """A limit is the fault of a place: the node moves on."""
    session = Session()
    session.register(FakeBackend(limit=LIMIT))
    policies = {"execution": {"backend": "fake", "failover": ["local"]}, "effects": "once"}
    result = Pipeline.of(given, node(back, policies=policies), session=session).run()
    assert result.check().outputs["back"] == DATA
    assert result.nodes["back"].backend == "local"


def test_a_place_that_nobody_knows_stops_the_run_before_it_begins() -> None:
    """The package that brings the scheme is named."""
    backend = FakeBackend(limit=LIMIT)
    session = Session()
    session.register(backend)
    policies = {"execution": {"backend": "fake", "claims": "nowhere://bucket/x"}}
    with pytest.raises(Exception, match="nowhere://") as found:
        Pipeline.of(given, node(back, policies=policies), session=session).run()
    assert getattr(found.value, "exit_code", None) == 4
    assert backend.sent == []


# -- F41: what comes back is not what was put there ---------------------------------------------------------------

FAULTS = {
    "cut": lambda data: data[:-1000],
    "flipped": lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:],
    "longer": lambda data: data + b"x",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("side", ["request", "reply"])
def test_wrong_bytes_once_are_asked_for_again(faulty: str, fault: str, side: str) -> None:
    """F41: size and digest say that something is wrong, and a fresh get gives what is right."""
    Faulty.faults = [*([None] if side == "reply" else []), FAULTS[fault]]  # type: ignore[list-item]
    assert run(FakeBackend(limit=LIMIT), faulty).check().outputs["back"] == DATA
    assert len(Faulty.gets) == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_bytes_twice_are_an_error_of_their_own(faulty: str, fault: str) -> None:
    """F41: `payload-corrupt`, of the infrastructure, so the node is tried again where that is allowed."""
    Faulty.always = staticmethod(FAULTS[fault])
    result = run(FakeBackend(limit=LIMIT), faulty, retry={"max_attempts": 2, "delay": 0})
    error = result.nodes["back"].error
    assert error is not None
    assert (error.code, error.kind) == ("payload-corrupt", "infrastructure")
    assert len(Faulty.gets) == 4  # two for each attempt


def test_control_without_verification_wrong_bytes_are_taken(
    faulty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the digest a flipped bit of the value comes through, and nobody knows."""
    monkeypatch.setattr(module, "_whole", lambda source, _: memoryview(source))
    Faulty.faults = [lambda data: data[:-10] + bytes([data[-10] ^ 1]) + data[-9:]]
    result = run(FakeBackend(limit=LIMIT), faulty)
    assert result.outputs["back"] != DATA


# -- F43: it is gone --------------------------------------------------------------------------------------------


def test_a_request_that_is_gone_is_told_with_key_and_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F43: `claim-expired`; it is known that nothing ran, so even a node that must not run twice may try again."""
    put = FolderStore.put

    def loses(store: FolderStore, key: str, *rest: Any, **how: Any) -> bool:
        kept = put(store, key, *rest, **how)
        if not lost:
            lost.append(key)
            store.delete(key)
        return kept

    lost: list[str] = []
    monkeypatch.setattr(FolderStore, "put", loses)
    backend = FakeBackend(limit=LIMIT)
    error = run(backend, place(tmp_path), effects="once").nodes["back"].error
    assert error is not None
    assert (error.code, error.kind) == ("claim-expired", "infrastructure")
    assert lost[0] in error.message
    assert "s ago" in error.message
    lost.clear()
    again = run(
        FakeBackend(limit=LIMIT), place(tmp_path), effects="once", retry={"max_attempts": 2, "delay": 0}
    )
    assert again.check().outputs["back"] == DATA


def test_a_reply_that_is_gone_leaves_open_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F43: the task ran; a node that must not run twice is `unknown` then, others may try again."""
    put = FolderStore.put

    def loses(store: FolderStore, key: str, *rest: Any, **how: Any) -> bool:
        kept = put(store, key, *rest, **how)
        if store.folder.name == "out":
            store.delete(key)
        return kept

    monkeypatch.setattr(FolderStore, "put", loses)
    result = run(FakeBackend(limit=LIMIT), place(tmp_path), effects="once", retry=3)
    assert (result.nodes["back"].status, result.nodes["back"].attempts) == ("unknown", 1)
    pure = run(FakeBackend(limit=LIMIT), place(tmp_path), retry={"max_attempts": 2, "delay": 0})
    assert (pure.nodes["back"].status, pure.nodes["back"].attempts) == ("failed", 2)
    assert pure.nodes["back"].error is not None
    assert pure.nodes["back"].error.code == "claim-expired"


def test_a_store_that_takes_nothing_is_a_fault_of_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the call it is known that nothing ran; after it what was done is open."""
    put = FolderStore.put

    def refuses(store: FolderStore, *rest: Any, **how: Any) -> bool:
        if store.folder.name == refused:
            raise PermissionError(13, "access denied")
        return put(store, *rest, **how)

    monkeypatch.setattr(FolderStore, "put", refuses)
    refused = "in"
    first = run(FakeBackend(limit=LIMIT), place(tmp_path), effects="once").nodes["back"]
    assert (first.status, first.error and first.error.code) == ("failed", "claim-store")
    assert first.error is not None
    assert "access denied" in first.error.message
    refused = "out"
    second = run(FakeBackend(limit=LIMIT), place(tmp_path), effects="once").nodes["back"]
    assert (second.status, second.error and second.error.code) == ("unknown", "claim-store")


# -- F44: what is left ------------------------------------------------------------------------------------------


def test_what_a_killed_run_has_left_is_swept_and_never_seen(tmp_path: Path) -> None:
    """F44: a day later the next run's sweep removes it; what is younger may be of a run that is alive."""
    dead = Claims(place(tmp_path))  # its run ends without closing it
    header = dead.put(b"x" * 100, "in", "20261101T000000-aaaaaaaa")
    (old,) = (tmp_path / "claims" / "in").iterdir()
    yesterday = time.time() - module.LIFE - 60
    os.utime(old, (yesterday, yesterday))
    dead.put(b"y" * 100, "in", "20261123T000000-bbbbbbbb")
    result = run(FakeBackend(limit=LIMIT), place(tmp_path))
    assert result.check().outputs["back"] == DATA
    assert [name[:15] for name in left(tmp_path)] == ["20261123T000000"]
    with pytest.raises(ClaimExpired):
        dead.get(header, "in")
    dead.close()
    assert left(tmp_path) == []


def test_the_request_of_a_task_that_is_lost_goes_with_the_run(tmp_path: Path) -> None:
    """It is deleted although no reply said that it was read; of the reply, which nobody saw, only the store knows."""
    backend = FakeBackend(limit=LIMIT, loses={"back"})
    assert run(backend, place(tmp_path)).nodes["back"].status == "failed"
    assert [path.parent.name for path in (tmp_path / "claims").rglob("*") if path.is_file()] == ["out"]


def test_where_nothing_may_be_deleted_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least privilege: deleting is the lifecycle rule's then, and nobody is told of it."""

    def refuses(*_: Any) -> bool:
        raise PermissionError(13, "access denied")

    monkeypatch.setattr(FolderStore, "delete", refuses)
    assert run(FakeBackend(limit=LIMIT), place(tmp_path)).check().outputs["back"] == DATA
    assert len(left(tmp_path)) == 2


# -- F79: what a pointer may name -------------------------------------------------------------------------------


def pointed(tmp_path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the header of a reply that lies in the store, and the same as data."""
    header = Claims(place(tmp_path)).put(b"x" * 100, "out", "run-1")
    return header, json.loads(header)


ELSEWHERE: dict[str, dict[str, Any]] = {
    "another folder": {"uri": "file:///etc"},
    "the parent": {"uri": "{place}/out/.."},
    "the other way": {"uri": "{place}/in"},
    "another bucket": {"uri": "s3://somebody-elses/in"},
    "the metadata service": {"uri": "http://169.254.169.254/latest/meta-data"},
    "a relative key": {"key": "../../etc/passwd"},
    "an absolute key": {"key": "/etc/passwd"},
    "a key with a prefix": {"key": "x/run-1-" + "0" * 64},
    "another digest": {"sha256": "0" * 64},
    "another run": {"key": "run-2-{sha256}"},
    "a negative size": {"size": -1},
    "a size beyond all": {"size": 1 << 40},
}


@pytest.mark.parametrize("change", ELSEWHERE)
def test_a_pointer_to_anywhere_else_is_refused(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F79: it is refused before anything is read."""
    _, said = pointed(tmp_path)
    values = {"place": place(tmp_path), "sha256": said["claim"]["sha256"]}
    said["claim"] |= {
        name: value.format(**values) if isinstance(value, str) else value
        for name, value in ELSEWHERE[change].items()
    }
    read: list[str] = []
    monkeypatch.setattr(FolderStore, "get", lambda _, key: read.append(key))
    with pytest.raises(WireError) as found:
        Claims(place(tmp_path)).get(json.dumps(said).encode(), "out", "run-1")
    assert found.value.code == "claim-elsewhere"
    assert read == []


def test_control_the_pointer_itself_is_read(tmp_path: Path) -> None:
    """What was changed in none of its parts gives the message."""
    header, _ = pointed(tmp_path)
    assert bytes(Claims(place(tmp_path)).get(header, "out", "run-1")) == b"x" * 100


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"petal":1,"claim":{}}',
        b'{"petal":1,"claim":{"uri":1}}',
        b'{"petal":1,"claim":{"more":1}}',
        b"\xff",
    ],
)
def test_a_pointer_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    """Strictly: a key that is not known may be meant for a newer Petal."""
    with pytest.raises(WireError):
        Claims(place(tmp_path)).get(text, "out", "run-1")


def test_a_worker_that_knows_no_place_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a request that lies elsewhere names the variable; with it the task is done."""
    backend = FakeBackend(limit=LIMIT)
    run(backend, place(tmp_path), effects="once")  # for a request; what it named is gone by now
    monkeypatch.delenv("PETAL_CLAIMS", raising=False)
    reply = json.loads(split(execute(backend.sent[0].message), None)[0])
    assert "PETAL_CLAIMS" in reply["error"]["hint"]
    monkeypatch.setenv("PETAL_CLAIMS", place(tmp_path) + "/")
    reply = json.loads(split(execute(backend.sent[0].message), None)[0])
    assert reply["error"]["code"] == "claim-expired"
    monkeypatch.setenv("PETAL_CLAIMS", (tmp_path / "other").as_uri())
    reply = json.loads(split(execute(backend.sent[0].message), None)[0])
    assert reply["error"]["code"] == "claim-elsewhere"


@pytest.mark.usefixtures("sealed")
def test_the_pointer_is_within_the_seal(tmp_path: Path) -> None:
    """F79: with a keyring a pointer that somebody changed, or made, is refused like any forged message."""
    backend = FakeBackend(limit=LIMIT)
    assert run(backend, place(tmp_path)).check().outputs["back"] == DATA
    message = backend.sent[0].message
    at = message.index(b'"sha256":"') + len(b'"sha256":"')
    forged = message[:at] + (b"1" if message[at : at + 1] == b"0" else b"0") + message[at + 1 :]
    for bad in (forged, joined(pointed(tmp_path)[0])):
        reply = execute(bad, claims=Claims(place(tmp_path)))
        assert b'"code":"signature"' in reply


def test_a_request_of_one_run_may_not_lie_as_that_of_another(tmp_path: Path) -> None:
    """The key says of which run it is, and so does the request itself."""
    backend = FakeBackend(limit=200_000)
    run(backend, None)
    claims = Claims(place(tmp_path))
    header = claims.put(backend.sent[0].message, "in", "another-run")
    try:
        reply = json.loads(split(execute(joined(header), claims=claims), None)[0])
        assert reply["error"]["code"] == "claim-elsewhere"
    finally:
        claims.close()


def test_threads_share_one_claims(tmp_path: Path) -> None:
    """Twelve nodes at once, each with a value of its own, get theirs back."""
    session = Session()
    session.register(FakeBackend(limit=LIMIT))
    policies = {"execution": {"backend": "fake", "claims": place(tmp_path)}}
    values = [os.urandom(30_000) for _ in range(12)]

    def giver(value: bytes) -> Callable[[], bytes]:
        def give() -> bytes:
            return value

        return give

    nodes = [node(giver(value), id=f"v{i}") for i, value in enumerate(values)]
    nodes += [node(back, id=f"b{i}", inputs={"given": f"v{i}"}, policies=policies) for i in range(12)]
    result = Pipeline.of(*nodes, session=session).run().check()
    assert [result.outputs[f"b{i}"] for i in range(12)] == values
    assert left(tmp_path) == []
    assert not [thread.name for thread in threading.enumerate() if thread.name == "petal-claims"]


def test_closing_twice_is_once_and_what_cannot_be_put_is_known(tmp_path: Path) -> None:
    """A place that is a file takes nothing: the error says so, and is of the infrastructure."""
    (tmp_path / "claims").write_text("no folder")
    claims = Claims(place(tmp_path))
    with pytest.raises(RemoteError, match="cannot be put") as found:
        claims.put(b"x", "in", "run")
    assert found.value.kind == "infrastructure"
    claims.close()
    claims.close()
