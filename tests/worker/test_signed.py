"""Messages to a backend are sealed as soon as a keyring is there, and nothing unsealed is read (DESIGN.md §5, F76)."""

import json

import pytest

from petal import Pipeline, Session, node
from petal.errors import EnvironmentNotReady
from petal.testing import FakeBackend
from petal.testing import fakes as module
from petal.worker.execute import execute

KEY, OTHER = "k" * 40, "o" * 40


def double(number: int) -> int:
    return 2 * number


def number() -> int:
    return 21


def run(backend):
    session = Session()
    session.register(backend)
    policies = {"execution": backend.name}
    return Pipeline.of(number, node(double, policies=policies), session=session).run()


@pytest.fixture
def sealed(monkeypatch):
    monkeypatch.setenv("PETAL_KEYRING", "env:KEYS")
    monkeypatch.setenv("KEYS", json.dumps({"2026-11": KEY}))
    return monkeypatch


def answers(monkeypatch, change):
    """Let the fake's worker do something else than it should."""
    monkeypatch.setattr(module, "execute", change)


def test_without_a_keyring_messages_pass_as_they_are():
    """Nothing is sealed where nobody has configured a key."""
    backend = FakeBackend()
    assert run(backend).check().outputs["double"] == 42
    assert backend.sent[0].message.startswith(b"PTL1")


def test_with_a_keyring_requests_and_replies_are_sealed(sealed):
    """With a key on both sides the result is the same, and what is sent begins with a seal."""
    backend = FakeBackend()
    assert run(backend).check().outputs["double"] == 42
    assert backend.sent[0].message.startswith(b"PTS1")


def test_keys_are_changed_one_by_one(sealed):
    """A worker that has the new key first still opens what the old one sealed."""
    backend = FakeBackend()

    def rotated(data):
        sealed.setenv("KEYS", json.dumps({"2026-12": OTHER, "2026-11": KEY}))
        try:
            return execute(data)
        finally:
            sealed.setenv("KEYS", json.dumps({"2026-11": KEY, "2026-12": OTHER}))

    sealed.setenv("KEYS", json.dumps({"2026-11": KEY, "2026-12": OTHER}))
    answers(sealed, rotated)
    assert run(backend).check().outputs["double"] == 42


def unsealed(data, monkeypatch):
    monkeypatch.delenv("PETAL_KEYRING")
    try:
        return execute(data)
    finally:
        monkeypatch.setenv("PETAL_KEYRING", "env:KEYS")


def other_key(data, monkeypatch):
    monkeypatch.setenv("KEYS", json.dumps({"2026-11": OTHER}))
    try:
        return execute(data)
    finally:
        monkeypatch.setenv("KEYS", json.dumps({"2026-11": KEY}))


def flipped(data, monkeypatch):
    reply = bytearray(execute(data))
    reply[len(reply) // 2] ^= 1
    return bytes(reply)


@pytest.mark.parametrize("worker", [unsealed, other_key, flipped])
def test_a_reply_that_is_not_sealed_as_it_must_be_is_refused(sealed, worker):
    """A worker without the key, with another one, or a reply changed on its way: the node fails, nothing is decoded."""
    answers(sealed, lambda data: worker(data, sealed))
    error = run(FakeBackend()).nodes["double"].error
    assert error.code == "signature"
    assert "2026" not in error.message


def test_a_reply_to_another_request_is_refused(sealed):
    """A good reply that was made for another attempt is not taken for this one's."""
    kept = []

    def first_again(data):
        kept.append(execute(data))
        return kept[0]

    answers(sealed, first_again)
    assert run(FakeBackend()).status == "succeeded"
    assert run(FakeBackend()).nodes["double"].error.code == "signature"


def test_a_worker_with_a_key_refuses_what_is_not_sealed(sealed):
    """The request of somebody without the key is refused before anything of it is decoded."""
    backend = FakeBackend()
    sealed.delenv("PETAL_KEYRING")
    run(backend)
    sealed.setenv("PETAL_KEYRING", "env:KEYS")
    reply = execute(backend.sent[0].message)
    assert b'"status":"ok"' not in reply
    assert b"not signed as it must be" in reply


def test_a_keyring_that_is_not_there_is_an_error_before_the_run(sealed):
    """A key that was promised and is missing stops the run; it does not pass unsealed."""
    sealed.delenv("KEYS")
    with pytest.raises(EnvironmentNotReady, match="KEYS"):
        run(FakeBackend())
