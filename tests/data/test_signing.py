"""Seals: what is refused, and that each refusal is the doing of one defence."""

import hmac
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.data import signing
from petal.data.signing import Keyring, Replays, digest, seal, unseal
from petal.errors import EnvironmentNotReady, SignatureError, UsageError, WireError

_RING = Keyring({"new": b"n" * 32, "old": b"o" * 40})
_SAID = {"run": "r1", "node": "n1", "key": "r1:n1", "attempt": 1}


def _request(data=b"hello", ring=_RING, **more):
    return seal(data, ring, **{"purpose": "request", "ttl": 60, "now": lambda: 1000.0, **_SAID, **more})


def _reply(request, data=b"answer", ring=_RING, **more):
    bound = digest(request)
    return seal(
        data,
        ring,
        **{"purpose": "reply", "ttl": 60, "now": lambda: 1000.0, "reply_to": bound, **_SAID, **more},
    )


def _open(data, ring=_RING, **more):
    return bytes(unseal(data, ring, **{"purpose": "request", "now": lambda: 1010.0, **_SAID, **more}))


def _open_reply(data, request, **more):
    return _open(data, **{"purpose": "reply", "reply_to": digest(request), **more})


@settings(max_examples=50)
@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20), st.integers(1, 9))
def test_opens(data, run, node, attempt):
    """What was sealed is opened, whatever it is and says, and its reply too."""
    said = {"run": run, "node": node, "key": f"{run}:{node}", "attempt": attempt}
    request = _request(data, **said)
    assert _open(request, **said) == data
    assert _open_reply(_reply(request, data, **said), request, **said) == data


@pytest.mark.parametrize("make", [_request, lambda: _reply(b"request")], ids=["request", "reply"])
def test_every_byte(make):
    """No message with a changed byte is opened, whichever it is and however it is changed."""
    data = make()
    open_it = _open if make is _request else lambda d: _open_reply(d, b"request")
    assert open_it(data)
    for at in range(len(data)):
        for change in (1, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= change
            with pytest.raises(SignatureError):
                open_it(bytes(changed))
    for end in range(len(data)):
        with pytest.raises(SignatureError):
            open_it(data[:end])
    with pytest.raises(SignatureError):
        open_it(data + b"\0")


def test_wrong_signature(monkeypatch):
    """Only the MAC keeps a changed message out: without the comparison it would be opened."""
    data = _request()
    changed = data.replace(b"hello", b"hullo")
    with pytest.raises(SignatureError):
        _open(changed)
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: True)
    assert _open(changed) == b"hullo"


def test_constant_time(monkeypatch):
    """MACs are compared in constant time, and nothing of the message is decoded before."""
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)))
    monkeypatch.setattr(signing.msgspec.json, "decode", lambda *a, **k: pytest.fail("decoded too early"))
    with pytest.raises(SignatureError):
        _open(_request())
    assert len(compared) == 1


@pytest.mark.parametrize("now", [1091, 1e9, 969, 0])
def test_stale(now, monkeypatch):
    """What has expired, or comes from the future, is refused by the clock alone."""
    with pytest.raises(SignatureError):
        _open(_request(), now=lambda: now)
    assert _open(_request(), now=lambda: 1089) == _open(_request(), now=lambda: 971) == b"hello"
    monkeypatch.setattr(signing, "_SKEW", float("inf"))
    assert _open(_request(), now=lambda: now) == b"hello"


@pytest.mark.parametrize(
    ("name", "value"), [("run", "r2"), ("node", "n2"), ("key", "r1:n2"), ("attempt", 2), ("run", "")]
)
def test_for_something_else(name, value):
    """A message of another run, node, key or attempt is refused; the same one is opened by who does not ask."""
    with pytest.raises(SignatureError):
        _open(_request(), **{name: value})
    assert _open(_request(), **{name: None}) == b"hello"


def test_another_requests_reply(monkeypatch):
    """A reply is good for its own request only, even for the same node and attempt."""
    first, second = _request(b"a"), _request(b"b")
    assert _open_reply(_reply(first), first) == b"answer"
    with pytest.raises(SignatureError):
        _open_reply(_reply(first), second)
    monkeypatch.setattr(signing, "_check", lambda *_: None)
    assert _open_reply(_reply(first), second) == b"answer"


def test_wrong_direction(monkeypatch):
    """A request is no reply and a reply no request, because their keys differ."""
    request = _request()
    with pytest.raises(SignatureError):
        _open(_reply(request))
    with pytest.raises(SignatureError):
        _open_reply(request, request)
    monkeypatch.setattr(signing, "_derived", lambda secret, purpose: secret)
    ring = Keyring({"a": b"x" * 32})
    assert _open(_reply(_request(ring=ring), ring=ring), ring) == b"answer"


@pytest.mark.parametrize("purpose", ["request", "reply"])
def test_binding_cannot_be_forgotten(purpose):
    """A reply cannot be sealed or opened without its request, nor a request with one."""
    bound = digest(b"") if purpose == "request" else None
    with pytest.raises(UsageError):
        _request(purpose=purpose, reply_to=bound)
    with pytest.raises(UsageError):
        _open(_request(), purpose=purpose, reply_to=bound)


def test_replay():
    """A message is opened once where replays are remembered, and again where they are not."""
    data, replays = _request(), Replays()
    assert _open(data, replays=replays) == b"hello"
    with pytest.raises(SignatureError):
        _open(data, replays=replays)
    assert _open(_request(now=lambda: 1001.0), replays=replays) == _open(data) == b"hello"


def test_replays_forget():
    """What is stale is forgotten, so that memory stays bounded; what is not is remembered."""
    replays = Replays()
    for number in range(10_000):
        assert replays.is_new(number.to_bytes(4, "big"), number, number)
    assert len(replays._seen) < 3000
    assert not replays.is_new((9999).to_bytes(4, "big"), 9999, 9999)


def test_rotation():
    """Each key of a ring opens, the first seals, and one that was taken out opens nothing."""
    old, both = Keyring({"old": b"o" * 40}), _RING
    new = Keyring({"new": b"n" * 32})
    assert _open(_request(ring=old), both) == _open(_request(ring=both), new) == b"hello"
    for ring, reader in ((old, new), (both, old), (Keyring({"new": b"x" * 32}), both)):
        with pytest.raises(SignatureError):
            _open(_request(ring=ring), reader)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PTS1",
        b"PTL1" + bytes(60),
        b"PTS0" + bytes(60),
        b"PTS1\xff",
        b"PTS1\x01\xff" + bytes(60),
        b"hello",
    ],
)
def test_unsigned(data):
    """What is not sealed, or sealed in another way, is refused."""
    with pytest.raises(SignatureError):
        _open(data)


def test_one_message(caplog):
    """All refusals look alike outside, and the log says why."""
    bad = [
        b"x",
        _request()[:-1],
        _request(ring=Keyring({"z": b"z" * 32})),
        _request(node="n2"),
        _request(ttl=-100),
    ]
    texts = set()
    with caplog.at_level(logging.WARNING, "petal.wire"):
        for data in bad:
            with pytest.raises(SignatureError) as found:
                _open(data)
            texts.add(str(found.value))
            assert found.value.code == "signature"
            assert isinstance(found.value, WireError)
            assert found.value.__cause__ is None
    assert len(texts) == 1
    assert len({r.getMessage() for r in caplog.records}) == len(bad)


# -- keyrings -------------------------------------------------------------------------------------------------

_A, _B = "a" * 32, "b" * 33


@pytest.mark.parametrize("kind", ["toml", "json", "environment", "resolver"])
def test_sources(kind, tmp_path, monkeypatch):
    """A keyring comes from a file, the environment or a resolver, and its first key seals."""
    text = json.dumps({"k2": _A, "k1": _B})
    resolve = None
    if kind == "toml":
        source, text = str(tmp_path / "keys.toml"), f'k2 = "{_A}"\nk1 = "{_B}"\n'
        (tmp_path / "keys.toml").write_text(text)
    elif kind == "json":
        source = str(tmp_path / "keys.json")
        (tmp_path / "keys.json").write_text(text)
    elif kind == "environment":
        monkeypatch.setenv("SOME_KEYS", text)
        source = "env:SOME_KEYS"
    else:
        source, resolve = "resolver:vault/keys", {"vault/keys": text}.__getitem__
    ring = Keyring.open(source, resolve)
    assert ring.first == "k2"
    assert _open(_request(ring=ring), Keyring({"k2": _A.encode()})) == b"hello"
    assert _open(_request(ring=Keyring({"k1": _B.encode()})), ring) == b"hello"


def test_one_secret(monkeypatch):
    """One secret alone is a ring too, with the same id on both sides; base64 is decoded."""
    monkeypatch.setenv("SOME_KEY", f"{_A}\n")
    assert _open(_request(ring=Keyring.open("env:SOME_KEY")), Keyring.open("env:SOME_KEY")) == b"hello"
    monkeypatch.setenv("SOME_KEY", "base64:" + "QUFB" * 11)
    assert Keyring.open("env:SOME_KEY").first


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keys.toml", 'k = "short"'),
        ("keys.toml", ""),
        ("keys.toml", f"k = '{_A}"),
        ("keys.toml", "k = 12345678901234567890123456789012"),
        ("keys.json", "{}"),
        ("keys.json", '{"k": "base64:%%%%"}'),
        ("keys.json", json.dumps({"": _A})),
        ("keys.json", json.dumps({"k" * 300: _A})),
    ],
)
def test_bad_rings(name, text, tmp_path):
    """A ring without keys, with a short one, or that cannot be parsed is refused, and no secret is shown."""
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as found:
        Keyring.open(str(tmp_path / name))
    assert _A not in str(found.value)


@pytest.mark.parametrize("source", ["env:NOT_THERE", "/not/there.toml", "resolver:x"])
def test_missing_rings(source):
    """A ring that is not there is the environment's fault."""
    with pytest.raises(EnvironmentNotReady):
        Keyring.open(source)


def test_no_secret_is_shown():
    """A ring shows its ids alone."""
    assert repr(_RING) == "Keyring(new, old)"
