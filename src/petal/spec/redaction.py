"""The one redactor: what has been resolved as a secret is shown as ``***`` wherever Petal shows anything (FAULTS 3.5)."""

from __future__ import annotations

import threading
from typing import Any

#: Shorter secrets would hide half of every text.
SHORTEST = 4
_lock = threading.Lock()
_hidden: list[str] = []


def hide(secret: str) -> None:
    """Remember a secret; from now on :func:`redact` hides it, also encoded."""
    if len(secret) < SHORTEST:
        return
    import base64
    import json
    from urllib.parse import quote

    raw = secret.encode()
    forms = {secret, quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    forms |= {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    with _lock:
        known = set(_hidden)
        _hidden.extend(f for f in forms if f not in known)
        _hidden.sort(key=len, reverse=True)


def hides() -> bool:
    """Say whether there is any secret to hide."""
    return bool(_hidden)


def hidden(shortest: int = 8) -> list[str]:
    """Return the secrets of some length, in all their forms, to look for where they must not be (FAULTS 3.5)."""
    return [text for text in _hidden if len(text) >= shortest]


def redact(text: str) -> str:
    """Return ``text`` with every known secret replaced by ``***``."""
    for secret in _hidden:
        if secret in text:
            text = text.replace(secret, "***")
    return text


def preview(value: Any, limit: int = 120) -> str:
    """Write a value for a log: one line, truncated, redacted. Never fails, whatever its ``repr`` does."""
    try:
        text = repr(value[:20]) if isinstance(value, list | tuple) and len(value) > 20 else repr(value)
        if isinstance(value, str | bytes) and len(value) > 4 * limit:
            text = repr(value[: 4 * limit])
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = redact(" ".join(text.split()) if "\n" in text else text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
