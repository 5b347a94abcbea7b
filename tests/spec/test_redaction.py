"""Secrets are hidden in whatever form they are shown, and other text is left alone."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal.spec import redaction
from petal.spec.redaction import hidden, hide, preview, redact

SECRET = 'k3y/"+ &é%-of-the-house'
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 behind one byte": lambda s: base64.b64encode(b"u" + s.encode() + b"zz").decode(),
    "base64 behind two": lambda s: base64.b64encode(b"u:" + s.encode() + b"z").decode(),
    "base64url": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "hex": lambda s: s.encode().hex(),
    "hex in capitals": lambda s: s.encode().hex().upper(),
    "in a URL": lambda s: quote(s),
    "in a URL, slashes too": lambda s: quote(s, safe=""),
    "in a form": lambda s: quote_plus(s),
    "JSON": lambda s: json.dumps({"a": s}),
    "JSON in Unicode": lambda s: json.dumps([s], ensure_ascii=False),
    "repr": lambda s: repr([s]),
    "repr of bytes": lambda s: repr(s.encode()),
    "repr of JSON": lambda s: repr(json.dumps(s)),
    "reversed": lambda s: s[::-1],
    "in two lines": lambda s: s[:9] + "\n    " + s[9:],
    "in many lines": lambda s: "\n".join(s[i : i + 3] for i in range(0, len(s), 3)),
    "in lines of an exception group": lambda s: s[:9] + "\n  |   " + s[9:],
    "repr of two lines": lambda s: repr(s[:9] + "\n  " + s[9:]),
    "cut short": lambda s: s[:15] + "…",
    "cut short by dots": lambda s: repr(s[:15] + "..."),
    "without its beginning": lambda s: "[... 17 bytes left out ...]\n" + s[-15:],
}


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without any secret, and leave none behind."""
    monkeypatch.setattr(redaction, "_hidden", [])


def shows(text: str, secret: str) -> bool:
    """Whether ten characters of a secret, one after the other, stand in a text in any of its forms."""
    squeezed = "".join(text.replace("\\n", "").replace("|", "").split())
    plain = [secret, secret[::-1], secret.encode().hex()]
    pieces = {form[i : i + 10] for form in plain for i in range(len(form) - 9)}
    return any(piece in text or "".join(piece.split()) in squeezed for piece in pieces)


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden(form: str) -> None:
    """The text around it stays."""
    text = f"before {FORMS[form](SECRET)} behind"
    hide(SECRET)
    found = redact(text)
    assert "***" in found
    assert not shows(found, SECRET)
    assert found.startswith("before ")
    assert found.endswith(" behind")


@given(
    secret=st.text(min_size=8, max_size=80).filter(lambda s: len("".join(s.split())) > 7),
    form=st.sampled_from(
        ["as it is", "base64", "base64 behind one byte", "hex", "in a URL", "JSON", "repr of bytes"]
    ),
)
def test_any_secret_is_hidden(secret: str, form: str) -> None:
    """In forms that are one piece, whatever characters it has."""
    redaction._hidden = []
    hide(secret)
    text = FORMS[form](secret)
    assert redact(text) != text
    assert secret not in redact(text)


@given(st.text(max_size=300))
def test_other_text_is_left_alone(text: str) -> None:
    redaction._hidden = []
    hide("a-secret-that-is-not-there")
    assert redact(text) == text


def test_lines_and_fields_of_a_secret_are_hidden_by_themselves() -> None:
    """A key in PEM is shown line by line; of a secret that is JSON, a field."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEA\n-----END KEY-----\n"
    hide(key)
    hide(json.dumps({"user": "me", "password": "correct horse"}))
    assert redact("line 2: BAQEFAASCBKcwggSjAgEA") == "line 2: ***"
    assert redact("-----BEGIN KEY-----") == "-----BEGIN KEY-----"
    assert redact("me: correct horse") == "me: ***"


def test_a_preview_shows_no_part_of_a_long_secret() -> None:
    """What is cut off is looked at first: a secret may begin within what is shown and end behind it."""
    secret = "".join(f"{i:04}" for i in range(500))
    hide(secret)
    assert preview("x" * 100 + secret) == "'" + "x" * 100 + "***'"


def test_what_no_unicode_is_can_be_hidden() -> None:
    """The environment may hold any bytes."""
    hide("p\udcffssword-of-bytes")
    assert redact("p\udcffssword-of-bytes") == "***"
    assert all(text.encode() for text in hidden())


def test_short_secrets_hide_nothing() -> None:
    hide("abc")
    assert redact("abcabc") == "abcabc"


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program that knows a secret."""
    head = "from petal.running.secrets import reveal\nreveal('${secret:env/THEIRS}')\n"
    program = [sys.executable, "-c", head + textwrap.dedent(code)]
    environment = os.environ | {"THEIRS": "the-secret-itself"}
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('the-secret-itself')",
        "import threading; t = threading.Thread(target=lambda: {}['the-secret-itself'], name='it'); t.start(); t.join()",
        "import logging; logging.getLogger('theirs').error('%s!', 'the-secret-itself')",
        """
        import logging
        try:
            raise KeyError('the-secret-itself')
        except KeyError:
            logging.getLogger('theirs').exception('it failed')
        """,
    ],
    ids=["exception", "thread", "log", "traceback in a log"],
)
def test_what_nobody_asks_petal_to_show_is_without_secrets(code: str) -> None:
    """Uncaught exceptions, and records of any logger, whoever handles them."""
    done = run(code)
    assert "***" in done.stderr
    assert "secret-itself" not in done.stderr


def test_what_has_no_secret_is_shown_as_ever() -> None:
    """By the hooks that were there."""
    done = run("import sys, logging; logging.warning('%d%%', 3); raise ValueError('plain')")
    assert done.stderr.startswith("WARNING:root:3%\nTraceback (most recent call last):")
    assert done.stderr.endswith("ValueError: plain\n")
