"""The one redactor: what has been resolved as a secret is shown as ``***`` wherever Petal shows anything (FAULTS 3.5)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

#: Shorter secrets would hide half of every text.
SHORTEST: Final = 4
#: Characters of what is looked for only where it is this long: lines of a secret, and pieces of one that was cut short.
_PIECE: Final = 8
_STARS: Final = "***"
#: Where something was cut short.
_CUT: Final = re.compile(r"\.\.\.|…")
#: What may stand between a piece of a secret and the ellipsis that says that there was more.
_AROUND: Final = " \n\t[]()'\""
#: What may stand between two characters of a secret that goes on in the next line, of a text or of its ``repr``, and with
#: a margin as the tracebacks of exception groups have it.
_GAP: Final = r"(?:\s*(?:\n|\\+[rn])(?:\s|\\+[rnt]|[|>])*)?"
_BREAKS: Final = re.compile(r"\s*(?:\n|\\+[rn])(?:\s|\\+[rnt]|[|>])*|\s")

_lock = threading.Lock()
#: All forms of all secrets, the longest first; never changed, but replaced whole, for others read it meanwhile.
_hidden: list[str] = []
#: The same as patterns of texts in which they go on from line to line; made when first wanted.
_wrapped: dict[str, re.Pattern[str]] = {}


def hide(secret: str) -> None:
    """Remember a secret; from now on :func:`redact` hides it, also encoded, reversed, wrapped or cut short."""
    global _hidden
    if len(secret) < SHORTEST or secret in _hidden:
        return
    forms = forms_of(secret, SHORTEST)
    with _lock:
        _hidden = sorted(forms.union(_hidden), key=lambda form: (-len(form), form))


def hides() -> bool:
    """Say whether there is any secret to hide."""
    return bool(_hidden)


def hidden(shortest: int = 8) -> list[str]:
    """Return the secrets of some length, in all their forms, to look for where they must not be (FAULTS 3.5)."""
    return sorted(text for text in with_halves(_hidden) if len(text) >= shortest and _is_unicode(text))


def forms_of(secret: str, shortest: int = 8) -> set[str]:
    """Return a secret as it may stand in a text; of one that has lines or fields, these as well."""
    parts = (secret, *_parts(secret))
    found = {form for part in parts for form in _encodings(part) if len(form) >= shortest}
    return found | {
        form.replace("\\", "\\\\") for form in found if "\\" in form
    }  # the `repr` of what is escaped


def with_halves(forms: Iterable[str]) -> set[str]:
    """Return forms of a secret and the halves of long ones: one stands where it goes on in the next line."""
    found = set(forms)
    for form in tuple(found):
        if len(form) >= 2 * _PIECE:
            found |= {form[: len(form) // 2], form[len(form) // 2 :]}
    return found


def redact(text: str) -> str:
    """Return ``text`` with every known secret replaced by ``***``."""
    forms = _hidden
    if not forms or not text:
        return text
    for form in forms:
        if form in text:
            text = text.replace(form, _STARS)
    if "\n" in text or "\\n" in text:
        text = _without_wrapped(text, forms)
    if "..." in text or "…" in text:
        text = _without_pieces(text, forms)
    return text


def preview(value: Any, limit: int = 120) -> str:
    """Write a value for a log: one line, truncated, redacted. Never fails, whatever its ``repr`` does."""
    try:
        if isinstance(value, str | bytes):
            longest = (
                len(_hidden[0]) if _hidden else 0
            )  # what is shown in part must be seen whole to be hidden
            text = repr(value[: 4 * limit + longest])
        elif isinstance(value, list | tuple) and len(value) > 20:
            text = repr(value[:20])
        else:
            text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = redact(text)
    if "\n" in text:
        text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_unicode(text: str) -> bool:
    """Say whether a text has no halves of characters, as the environment may hold them."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


# -- forms ----------------------------------------------------------------------------------------------------


def _encodings(secret: str) -> Iterator[str]:
    import json
    from urllib.parse import quote, quote_plus

    raw = secret.encode("utf-8", "surrogateescape")  # the environment may hold bytes that are no Unicode
    yield secret
    yield secret[::-1]
    yield from (repr(secret)[1:-1], repr(raw)[2:-1])
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    for text in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield text
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)
    yield from (raw.hex(), raw.hex().upper())
    for text in _base64(raw):
        yield text
        yield text.translate(_URL_SAFE)


_URL_SAFE: Final = str.maketrans("+/", "-_")


def _base64(raw: bytes) -> Iterator[str]:
    """Yield what every base64 text has in which these bytes stand, alone or behind others (``user:secret``)."""
    import base64

    yield base64.b64encode(raw).decode().rstrip("=")
    for before in range(3):
        text = base64.b64encode(bytes(before) + raw).decode()
        first, last = (
            -(-8 * before // 6),
            8 * (before + len(raw)) // 6,
        )  # digits that no neighbour has a part in
        yield text[first:last]


def _parts(secret: str) -> Iterable[str]:
    """Return the lines of a secret such as a key in PEM, and the texts in one that is a JSON object."""
    lines = [line.strip() for line in secret.splitlines()]
    found = [line for line in lines if not line.startswith("-----")] if len(lines) > 1 else []
    if secret.lstrip().startswith("{"):
        import json

        try:
            fields = json.loads(secret)
        except (ValueError, RecursionError):
            fields = None
        if isinstance(fields, dict):
            found += [value for value in fields.values() if isinstance(value, str)]
    return [part for part in found if len(part) >= _PIECE]


# -- what is not in one piece ---------------------------------------------------------------------------------


def _without_wrapped(text: str, forms: list[str]) -> str:
    """Hide secrets that go on in the next line."""
    squeezed = _BREAKS.sub("", text)
    for form in forms:
        if len(form) >= _PIECE and "".join(form.split()) in squeezed:
            pattern = _wrapped.get(form)
            if pattern is None:
                words = (_GAP.join(map(re.escape, word)) for word in form.split())
                pattern = _wrapped[form] = re.compile(r"(?:\s|\\+[rnt])+".join(words))
            text = pattern.sub(_STARS, text)
    return text


def _without_pieces(text: str, forms: list[str]) -> str:
    """Hide what is left of secrets where a text was cut short: before or behind an ellipsis."""
    beginnings = [form for form in forms if form[:_PIECE] in text]
    endings = [form for form in forms if form[-_PIECE:] in text]
    if not beginnings and not endings:
        return text
    shown, at = "", 0
    for found in _CUT.finditer(text):
        before = text[at : found.start()].rstrip(_AROUND)
        most = max((_beginning(before, form) for form in beginnings), default=0)
        between = text[at + len(before) : found.end()]
        shown += (before[:-most] + _STARS if most else before) + between
        at = found.end()
        behind = text[at:].lstrip(_AROUND) if endings else ""
        most = max((_ending(behind, form) for form in endings), default=0)
        if most:
            start = len(text) - len(behind)
            shown += text[at:start] + _STARS
            at = start + most
    return shown + text[at:]


def _beginning(text: str, form: str) -> int:
    """Return how many characters of a secret's beginning a text ends with, 0 where there are only few."""
    if len(form) < _PIECE:
        return 0
    return next((n for n in range(len(form), _PIECE - 1, -1) if text.endswith(form[:n])), 0)


def _ending(text: str, form: str) -> int:
    """Return how many characters of a secret's end a text begins with, 0 where there are only few."""
    if len(form) < _PIECE:
        return 0
    return next((n for n in range(len(form), _PIECE - 1, -1) if text.startswith(form[-n:])), 0)
