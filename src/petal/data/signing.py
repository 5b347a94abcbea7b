"""Seal messages and open sealed ones: HMAC-SHA256 over the raw bytes, looked at before anything is decoded (FAULTS F76)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from petal.errors import EnvironmentNotReady, SignatureError, UsageError

#: The first bytes of a sealed message; the number names layout and algorithm, so that none can be asked for.
MAGIC = b"PTS1"
_MAC = hashlib.sha256().digest_size
_SHORTEST = 32
#: Seconds that the clocks of two machines may differ.
_SKEW = 30.0
_log = logging.getLogger("petal.wire")

Purpose = Literal["request", "reply", "cache", "record"]


class Keyring:
    """The keys that messages are sealed with: the first seals, each opens, so that keys can be changed one by one.

    Args:
        keys: Secrets of at least 32 bytes, by their ids.

    Raises:
        UsageError: There is none, or one is too short.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise UsageError("a keyring needs a key", hint=_HOW)
        for name, secret in keys.items():
            if not 0 < len(name.encode()) < 256:
                raise UsageError("a key's id has 1 to 255 bytes", hint="give it a short id, such as a date")
            if len(secret) < _SHORTEST:
                raise UsageError(
                    f"the key `{name}` has {len(secret)} bytes, but needs at least {_SHORTEST}", hint=_HOW
                )
        self._keys = {
            name: {purpose: _derived(secret, purpose) for purpose in get_args(Purpose)}
            for name, secret in keys.items()
        }

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    @classmethod
    def open(cls, source: str, resolve: Callable[[str], str] | None = None) -> Keyring:
        """Read a keyring.

        Args:
            source: A TOML or JSON file of ids and secrets, ``env:NAME`` for the environment variable that holds the
                same as JSON or one secret alone, or ``resolver:REFERENCE`` for what a resolver says, likewise.
            resolve: Resolves references.

        Raises:
            EnvironmentNotReady: It is not there.
            UsageError: It is there, but is no keyring.
        """
        if source.startswith("env:"):
            text = os.environ.get(source[4:])
            if text is None:
                raise EnvironmentNotReady(
                    f"the environment has no variable `{source[4:]}`, which should hold the keyring",
                    hint=_HOW,
                )
            return cls(_parsed(text, source))
        if source.startswith("resolver:"):
            if resolve is None:
                raise EnvironmentNotReady(f"nothing here resolves `{source}`")
            return cls(_parsed(resolve(source.removeprefix("resolver:")), source))
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentNotReady(f"the keyring `{source}` cannot be read: {error}", hint=_HOW) from None
        return cls(_parsed(text, source, toml=source.endswith(".toml")))

    @property
    def first(self) -> str:
        """The id of the key that seals."""
        return next(iter(self._keys))

    def derived(self, name: str, purpose: Purpose) -> bytes | None:
        """Return the key of a purpose, derived of the one with this id; None where there is none."""
        found = self._keys.get(name)
        return None if found is None else found[purpose]


_HOW = "make a key with `python -c 'import secrets; print(secrets.token_urlsafe(48))'`"


def _parsed(text: str, source: str, *, toml: bool = False) -> dict[str, bytes]:
    """Read ids and secrets; no message shows what was read."""
    try:
        if toml:
            import tomllib

            found: Any = tomllib.loads(text)
        elif text.lstrip().startswith("{"):
            found = json.loads(text)
        else:  # one secret: its id tells nothing of it
            secret = text.strip()
            found = {hashlib.sha256(b"petal key id" + secret.encode()).hexdigest()[:12]: secret}
    except ValueError:
        raise UsageError(
            f"the keyring `{source}` cannot be parsed", hint='write `id = "secret"` lines'
        ) from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise UsageError(
            f"the keyring `{source}` does not hold texts by ids", hint='write `id = "secret"` lines'
        )
    return {str(name): _secret(value, source) for name, value in found.items()}


def _secret(text: str, source: str) -> bytes:
    if not text.startswith("base64:"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("base64:"), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"a key of the keyring `{source}` is not base64", hint=_HOW) from None


def _derived(secret: bytes, purpose: str) -> bytes:
    """Derive a key for one purpose (HKDF with SHA-256, one block): what signs requests cannot sign replies."""
    pseudorandom = hmac.digest(b"petal wire 1", secret, "sha256")
    return hmac.digest(pseudorandom, f"petal/1/{purpose}".encode() + b"\x01", "sha256")


class Seal(Struct, frozen=True):
    """What a seal says of its message.

    Attributes:
        run: The run's id.
        node: The node's id.
        key: The idempotency key.
        attempt: The attempt.
        made: When it was sealed, in seconds since 1970.
        ends: When it is no longer good.
        reply_to: For a reply the digest of its request, in hexadecimal.
    """

    run: str
    node: str
    key: str
    attempt: int
    made: float
    ends: float
    reply_to: str = ""


class Replays:
    """Remembers what was opened, until it would be stale anyway: nothing is opened twice."""

    def __init__(self) -> None:
        self._seen: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def is_new(self, mark: bytes, ends: float, now: float) -> bool:
        """Remember a message by its MAC, and say whether it had not come before."""
        with self._lock:
            if len(self._seen) >= 1024 and len(self._seen) & 1023 == 0:
                self._seen = {m: e for m, e in self._seen.items() if e + _SKEW >= now}
            if mark in self._seen:
                return False
            self._seen[mark] = ends
            return True


def digest(sealed: bytes) -> bytes:
    """Return what a reply is bound to: the SHA-256 of its sealed request."""
    return hashlib.sha256(sealed).digest()


def seal(
    data: bytes,
    ring: Keyring,
    *,
    purpose: Purpose,
    run: str,
    node: str,
    key: str,
    attempt: int,
    ttl: float,
    now: Callable[[], float] = time.time,
    reply_to: bytes | None = None,
) -> bytes:
    """Seal a message.

    Args:
        data: The message.
        ring: The keys; the first seals.
        purpose: What it is.
        run: The run's id.
        node: The node's id.
        key: The idempotency key.
        attempt: The attempt.
        ttl: Seconds for which the seal is good.
        now: The clock.
        reply_to: For a reply the :func:`digest` of its request.
    """
    if (purpose == "reply") != (reply_to is not None):
        raise UsageError("a reply, and nothing else, is bound to a request")
    made = now()
    says = msgspec.json.encode(Seal(run, node, key, attempt, made, made + ttl, (reply_to or b"").hex()))
    name = ring.first.encode()
    secret = ring.derived(ring.first, purpose)
    assert secret is not None
    start = b"".join(
        (MAGIC, bytes([len(name)]), name, len(says).to_bytes(4, "big"), says, len(data).to_bytes(8, "big"))
    )
    return b"".join((start, data, _mac(secret, start, data)))


def unseal(
    data: Any,
    ring: Keyring,
    *,
    purpose: Purpose,
    run: str | None = None,
    node: str | None = None,
    key: str | None = None,
    attempt: int | None = None,
    reply_to: bytes | None = None,
    now: Callable[[], float] = time.time,
    replays: Replays | None = None,
) -> memoryview:
    """Open a sealed message; before its MAC is found right, nothing but three lengths is read of it.

    Args:
        data: The sealed message.
        ring: The keys; each opens.
        purpose: What it must be.
        run: The run it must be of; like those that follow, None where the receiver cannot know.
        node: Its node.
        key: Its idempotency key.
        attempt: Its attempt.
        reply_to: For a reply the :func:`digest` of the request that was sent.
        now: The clock.
        replays: Refuses what was opened before.

    Returns:
        The message that was sealed, a view into ``data``.

    Raises:
        SignatureError: It is not sealed as it must be. Why is logged, and not said: it would help a forger.
    """
    if (purpose == "reply") != (reply_to is not None):
        raise UsageError("a reply, and nothing else, is bound to a request")
    wanted = {"run": run, "node": node, "key": key, "attempt": attempt}
    if reply_to is not None:
        wanted["reply_to"] = reply_to.hex()
    try:
        said, found, mark = _verified(memoryview(data).cast("B"), ring, purpose)
        _check(said, wanted, now())
        if replays is not None and not replays.is_new(mark, said.ends, now()):
            raise _Refused("it came before")
        return found
    except _Refused as reason:
        _log.warning("a %s was refused: %s", purpose, reason)
        raise SignatureError(
            "a message is not signed as it must be",
            hint="see that both sides have the same key and the right time; the log of `petal.wire` says more",
        ) from None


class _Refused(Exception):
    """Why a seal is not good; said in the log alone."""


def _verified(data: memoryview, ring: Keyring, purpose: Purpose) -> tuple[Seal, memoryview, bytes]:
    """Check the MAC, then return what the seal says, the message and the MAC."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise _Refused("it is not sealed")
    at = len(MAGIC)
    name, at = _field(data, at, 1)
    says, at = _field(data, at, 4)
    message, end = _field(data, at, 8)
    if data.nbytes - end != _MAC:
        raise _Refused("its lengths do not fit")
    try:
        secret = ring.derived(str(name, "utf-8"), purpose)
    except UnicodeDecodeError:
        secret = None
    if secret is None:
        raise _Refused("its key is not known")
    mark = bytes(data[end:])
    if not hmac.compare_digest(mark, _mac(secret, data[: at + 8], message)):
        raise _Refused("its signature is wrong")
    return msgspec.json.decode(says, type=Seal), message, mark


def _field(data: memoryview, at: int, width: int) -> tuple[memoryview, int]:
    start = at + width
    end = start + int.from_bytes(data[at:start], "big")
    if end > data.nbytes:
        raise _Refused("it ends early")
    return data[start:end], end


def _mac(secret: bytes, start: Any, data: Any) -> bytes:
    """Return the MAC of all that comes before it; every length is within ``start``."""
    found = hmac.new(secret, start, "sha256")
    found.update(data)
    return found.digest()


def _check(said: Seal, wanted: Mapping[str, Any], now: float) -> None:
    if now > said.ends + _SKEW:
        raise _Refused("it has expired")
    if now < said.made - _SKEW:
        raise _Refused("it was made in the future")
    for name, value in wanted.items():
        if value is not None and getattr(said, name) != value:
            raise _Refused(f"its {name} is another")
