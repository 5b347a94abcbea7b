"""Read the policies of a node or of ``defaults`` from a file, short forms included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from petal.config.findings import Part, shorten, show, similar
from petal.errors import DefinitionError
from petal.spec.policy import (
    EXECUTION_KEYS,
    NO_POLICIES,
    POLICY_NAMES,
    PROTOCOLS,
    Batch,
    Cache,
    Effects,
    Execution,
    Policies,
    Retry,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RETRY_KEYS = ("max_attempts", "delay", "backoff", "max_delay", "jitter", "retry_on", "abort_on")
_CACHE_KEYS = ("ttl", "version", "depends_on")
_BATCH_KEYS = ("size", "in_flight", "ordered", "over", "max_bytes")
_DURATION = "a number of seconds or text like '30s'"
#: No count of attempts, rows or calls is larger.
_MOST = 1_000_000_000
_POLICY_SET = frozenset(POLICY_NAMES)


def read_policies(part: Part) -> Policies:
    """Read every policy that a node, or ``defaults``, says; a bad one counts as not said."""
    if _POLICY_SET.isdisjoint(part.data):
        return NO_POLICIES
    said: dict[str, Any] = {}
    for name in POLICY_NAMES:
        value = part.data.get(name)
        if value is None or (name != "execution" and part.refuse_reference(value, name, code="bad-policy")):
            continue
        policy = _READERS[name](part, name, value)
        if policy is not None:
            said[name] = policy
    return Policies(**said) if said else NO_POLICIES


def read_duration(part: Part, key: str, *, zero: bool = False) -> float | None:
    """Read a duration in seconds, with a finding at its place when it is none."""
    value = part.data.get(key)
    if value is None or part.refuse_reference(value, key, code="bad-policy"):
        return None
    if zero and value == 0 and not isinstance(value, bool):
        return 0.0
    if not isinstance(value, str | int | float):
        part.wrong(_DURATION, key, value=value, what=part.name(key))
        return None
    try:
        return seconds(value)
    except (DefinitionError, OverflowError):
        part.add(
            "bad-policy",
            f"{part.name(key)} is {show(value)}, which is not a duration",
            key,
            hint="write a positive number of seconds, or text like '30s', '5m', '1h30m' or '250ms'",
        )
        return None


def _execution(part: Part, key: str, value: Any) -> Execution | None:
    if isinstance(value, str):
        backend = part.fixed_text(key, "bad-policy")
        return None if backend is None else Execution(backend)
    if not isinstance(value, dict):
        part.wrong("a mapping or the name of a backend", key, value=value, what=part.name(key))
        return None
    return _block(part, part.inside(key, value), (key,))


def _block(part: Part, block: Part, keys: tuple[str | int, ...], *, inside: bool = False) -> Execution | None:
    """Read a block that names a backend.

    Args:
        part: What the block stands in.
        block: The block.
        keys: Where it stands there.
        inside: Whether it is an entry of another block's ``failover``.
    """
    value, name = block.data, block.where
    word = "backend" if value.get("backend") is not None else "target"
    if word == "backend" and value.get("target") not in (None, value["backend"]):
        block.add(
            "bad-policy",
            f"{name} names a backend and a target",
            "target",
            hint="`target` is another word for `backend`: keep one",
        )
    if inside and "failover" in value:
        block.add(
            "bad-policy",
            f"{name} has a failover of its own",
            "failover",
            hint="write the places one after the other, in the list that this entry stands in",
            at_key=True,
        )
    failover = () if inside else _failover(block)
    protocol = _word(block, "protocol", PROTOCOLS, "say how inputs and output travel")
    unsigned = block.flag("unsigned") or False
    settings = {k: v for k, v in value.items() if k not in EXECUTION_KEYS}
    if value.get(word) is None:
        if not value and not inside:
            return Execution()
        meant = next((k for k in settings if similar(k, ("backend", "target"))), None)
        part.add(
            "missing-key",
            f"{name} does not name a backend",
            *keys,
            hint=f"did you mean `backend` instead of `{shorten(meant)}`?"
            if meant
            else "add `backend: local`, or another",
        )
        return None
    backend = block.fixed_text(word, "bad-policy")
    return None if backend is None else Execution(backend, failover, settings, protocol, unsigned)


def _failover(block: Part) -> tuple[Execution, ...]:
    """Read the places to go to: names of backends, and blocks of those that need settings."""
    value = block.data.get("failover")
    if isinstance(value, str):
        found = block.fixed_text("failover", "bad-policy")
        return () if found is None else (Execution(found),)
    if isinstance(value, dict):
        value, one = [value], True
    else:
        one = False
    if not isinstance(value, list):
        if value is not None:
            block.wrong("a list", "failover", value=value, what=block.name("failover"))
        return ()
    places = []
    for i, item in enumerate(value):
        keys: tuple[str | int, ...] = ("failover",) if one else ("failover", i)
        what = block.name("failover") if one else f"item {i + 1} of {block.name('failover')}"
        if isinstance(item, dict):
            place = _block(block, block.beneath(keys, item, what), keys, inside=True)
            places += [place] if place is not None else []
        elif not isinstance(item, str):
            block.wrong("the name of a backend, or a mapping", *keys, value=item, what=what)
        elif not item.strip():
            block.add("bad-value", f"{what} is empty", *keys, hint="remove it")
        elif not block.refuse_reference(item, *keys, code="bad-policy"):
            places.append(Execution(item))
    return tuple(places)


def _retry(part: Part, key: str, value: Any) -> Retry | bool | None:
    if isinstance(value, bool):
        return Retry() if value else False
    if isinstance(value, int):
        attempts = _count(
            part, key, "it counts all attempts: `retry: 1` tries once, `retry: false` switches it off"
        )
        return None if attempts is None else Retry(attempts)
    if not isinstance(value, dict):
        part.wrong("a whole number, true or false, or a mapping", key, value=value, what=part.name(key))
        return None
    block = part.inside(key, value)
    block.check_keys(_RETRY_KEYS)
    said = {
        "max_attempts": _count(block, "max_attempts", "it counts all attempts: 1 or more"),
        "delay": read_duration(block, "delay", zero=True),
        "backoff": _factor(block, "backoff"),
        "max_delay": read_duration(block, "max_delay"),
        "jitter": block.flag("jitter"),
        "retry_on": block.texts("retry_on", code="bad-policy"),
        "abort_on": block.texts("abort_on", code="bad-policy"),
    }
    return Retry(**_said(said))


def _timeout(part: Part, key: str, value: Any) -> float | bool | None:
    return False if value is False else read_duration(part, key)


def _cache(part: Part, key: str, value: Any) -> Cache | bool | None:
    if isinstance(value, bool):
        return Cache() if value else False
    if not isinstance(value, dict):
        hint = (
            "for how long an entry is good, write {ttl: 1h}" if isinstance(value, str | int | float) else None
        )
        part.wrong("true or false, or a mapping", key, value=value, what=part.name(key), hint=hint)
        return None
    block = part.inside(key, value)
    block.check_keys(_CACHE_KEYS)
    version = value.get("version")
    whole = isinstance(version, int) and not isinstance(version, bool)
    said = {
        "ttl": read_duration(block, "ttl"),
        "version": str(version) if whole else block.fixed_text("version", "bad-policy"),
        "depends_on": block.texts("depends_on", code="bad-policy"),
    }
    return Cache(**_said(said))


def _batch(part: Part, key: str, value: Any) -> Batch | bool | None:
    if isinstance(value, bool):
        return Batch() if value else False
    if isinstance(value, int):
        size = _count(part, key, "it is the number of rows per call: 1 or more")
        return None if size is None else Batch(size)
    if not isinstance(value, dict):
        part.wrong("a whole number, true or false, or a mapping", key, value=value, what=part.name(key))
        return None
    block = part.inside(key, value)
    block.check_keys(_BATCH_KEYS)
    said = {
        "size": _count(block, "size", "it is the number of rows per call: 1 or more"),
        "in_flight": _count(block, "in_flight", "it is the number of calls at a time: 1 or more"),
        "ordered": block.flag("ordered"),
        "over": block.fixed_text("over", "bad-policy"),
        "max_bytes": _count(block, "max_bytes", "it is the number of bytes per call: 1 or more"),
    }
    return Batch(**_said(said))


def _effects(part: Part, key: str, value: Any) -> Effects | None:  # noqa: ARG001
    found = _word(part, key, [e.value for e in Effects], "say what a second execution would do")
    return None if found is None else Effects(found)


def _word(part: Part, key: str, words: Sequence[str], hint: str) -> str | None:
    """Read one of a few words."""
    value = part.data.get(key)
    if value is None or part.refuse_reference(value, key, code="bad-policy"):
        return None
    if not isinstance(value, str):
        part.wrong("text", key, value=value, what=part.name(key), hint=f"write one of {', '.join(words)}")
        return None
    if value in words:
        return value
    meant = similar(value, words)
    part.add(
        "bad-policy",
        f"{part.name(key)} is {shorten(value)!r}, which is none of {', '.join(words)}",
        key,
        hint=f"did you mean `{meant}`?" if meant else hint,
    )
    return None


def _count(part: Part, key: str, hint: str) -> int | None:
    """Read a whole number, 1 or more."""
    value = part.data.get(key)
    if value is None or part.refuse_reference(value, key, code="bad-policy"):
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        part.wrong("a whole number", key, value=value, what=part.name(key))
        return None
    if not 1 <= value <= _MOST:
        problem = "it must be 1 or more" if value < 1 else f"it must be {_MOST:,} or less"
        part.add("bad-policy", f"{part.name(key)} is {show(value)}, but {problem}", key, hint=hint)
        return None
    return value


def _factor(part: Part, key: str) -> float | None:
    """Read a finite number, 1 or more."""
    value = part.data.get(key)
    if value is None or part.refuse_reference(value, key, code="bad-policy"):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        part.wrong("a number", key, value=value, what=part.name(key))
        return None
    if not 1 <= value < 1e300:
        part.add(
            "bad-policy",
            f"{part.name(key)} is {show(value)}, but it must be 1 or more",
            key,
            hint="it is the factor between two waits: 2 doubles the wait each time",
        )
        return None
    return float(value)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


_READERS: dict[str, Callable[[Part, str, Any], Any]] = {
    "execution": _execution,
    "retry": _retry,
    "timeout": _timeout,
    "cache": _cache,
    "batch": _batch,
    "effects": _effects,
}
