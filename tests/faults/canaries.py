"""A canary: a secret whose every trace is found, and pipelines that fail with it in their hands (F82).

The search shares nothing with Petal's own redactor: it looks for the encodings itself, and for any piece of the secret that
is too long for chance.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from msgspec import Struct

#: Characters of a piece that is no chance any more.
_PIECE = 12
#: The name of the environment variable with the one canary, and of the one that names the vault's file.
VARIABLE, VAULT = "CANARY", "CANARY_VAULT"


class Canary:
    """A secret that no encoding leaves as it is, for it has quotes, a slash, a space and a letter beyond ASCII."""

    def __init__(self) -> None:
        self.text = f'{secrets.token_hex(10)}/"+ &é{secrets.token_hex(10)}'
        raw = self.text.encode()
        self._forms = {
            "raw": [raw],
            "base64": [found for before in range(3) for found in [_core(raw, before)]],
            "hex": [raw.hex().encode(), raw.hex().upper().encode()],
            "url": [f(self.text).encode() for f in (quote, quote_plus, lambda t: quote(t, safe=""))],
            "json": [json.dumps(self.text)[1:-1].encode()],
            "reversed": [self.text[::-1].encode()],
        }
        self._forms["base64url"] = [f.translate(bytes.maketrans(b"+/", b"-_")) for f in self._forms["base64"]]
        ends = (self.text[:20], self.text[-20:])
        self._pieces = {end[i : i + _PIECE].encode() for end in ends for i in range(20 - _PIECE + 1)}

    def traces(self, data: bytes) -> set[str]:
        """Return the encodings in which it stands in some bytes; ``piece`` is any part of it, or its wrapped form."""
        found = {name for name, forms in self._forms.items() if any(form in data for form in forms)}
        squeezed = b"".join(data.replace(rb"\n", b"").split())
        if any(piece in data for piece in self._pieces) or any(piece in squeezed for piece in self._pieces):
            found.add("piece")
        return found


def _core(raw: bytes, before: int) -> bytes:
    """Return the digits that base64 has for some bytes behind so many others, whatever those are."""
    text = base64.b64encode(b"\0" * before + raw)
    return text[(0, 2, 3)[before] : 8 * (before + len(raw)) // 6]


#: Operators that fail with a secret in their hands, and a resolver.
STEPS = '''
import base64
import json
import logging
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from urllib.parse import quote

from petal import Context, DataError, hookimpl, operator, register_plugin


def forms(secret: str) -> list[str]:
    """Return a secret in eight encodings, and behind other text."""
    raw = secret.encode()
    return [
        secret,
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(b"user:" + raw).decode(),
        raw.hex(),
        quote(secret, safe=""),
        json.dumps({"token": secret}),
        secret[::-1],
        secret[:15] + "\\n    " + secret[15:],
    ]


def vault(name: str) -> str:
    """Resolve ${secret:vault/NAME}: from a file that is no part of what is searched."""
    return Path(os.environ["CANARY_VAULT"]).read_text()


def raises(secret: str, context: Context) -> None:
    raise ValueError("cannot log in with " + " ".join(forms(secret)))


def chained(secret: str, context: Context) -> None:
    try:
        {}[secret]
    except KeyError as error:
        error.add_note(" ".join(forms(secret)))
        raise ConnectionError(*forms(secret)) from error


def grouped(secret: str, context: Context) -> None:
    raise ExceptionGroup(secret, [ValueError(form) for form in forms(secret)])


def known(secret: str, context: Context) -> None:
    text = " ".join(forms(secret))
    raise DataError(text, hint=text)


def logs(secret: str, context: Context) -> None:
    logging.basicConfig(level=logging.INFO)
    for form in forms(secret):
        context.log.warning("sent %s", form)
        logging.getLogger("theirs").error("sent %s", form)
    try:
        raises(secret, context)
    except ValueError:
        logging.getLogger("theirs").exception("again")
    warnings.warn(secret)
    raise ValueError("it has logged")


def prints(secret: str, context: Context) -> None:
    for form in forms(secret):
        print("sent", form)
        print(form, file=sys.stderr, flush=True)
    raise ValueError("it has printed")


def threads(secret: str, context: Context) -> None:
    thread = threading.Thread(target=raises, args=(secret, context))
    thread.start()
    thread.join()
    raise ValueError("its thread has failed")


def opens(secret: str, context: Context) -> None:
    Path("/nowhere", secret).read_text()


def dies(secret: str, context: Context) -> None:
    os.write(1, "".join(forms(secret)).encode())
    os._exit(3)


def hangs(secret: str, context: Context) -> None:
    for form in forms(secret):
        print(form, flush=True)
    time.sleep(60)


def leaves(secret: str, context: Context) -> None:
    raise SystemExit(secret)


class Opaque:
    """Nothing writes it as bytes, and its text tells all."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return " ".join(forms(self.secret))


@operator(effects="idempotent")
def fails(*, how: str, secret: str = "", reference: str = "", context: Context) -> str:
    """Fail with a secret in its hands."""
    globals()[how](secret or context.secret(reference), context)
    return ""


@operator(effects="idempotent")
def mistypes(*, secret: str = "", reference: str = "", context: Context) -> list[int]:
    """Give what is not of its type."""
    return forms(secret or context.secret(reference))


@operator(effects="idempotent")
def hides(*, secret: str = "", reference: str = "", context: Context):
    """Give what nobody can write as bytes."""
    return Opaque(secret or context.secret(reference))


@operator(effects="idempotent")
def gives(*, secret: str = "", reference: str = "", context: Context) -> list[str]:
    """Give a secret, which is what it is for."""
    return forms(secret or context.secret(reference))


@operator(effects="idempotent")
def wraps(*, secret: str = "", reference: str = "", context: Context) -> str:
    """Give a secret that goes on in the next line, and nothing else."""
    return forms(secret or context.secret(reference))[-1]


@operator(effects="idempotent")
def takes(given: object) -> str:
    """Fail with what it was given."""
    raise KeyError(given)


@operator(effects="idempotent")
def lists(*, secret: str = "", reference: str = "", context: Context) -> None:
    """Write down what anybody sees of this process."""
    secret or context.secret(reference)
    seen = [Path(f"/proc/self/{name}").read_bytes() for name in ("environ", "cmdline")]
    text = json.dumps([dict(os.environ), sys.argv, [one.decode(errors="replace") for one in seen]])
    Path(f"seen-{os.getpid()}.txt").write_text(text)
    raise ValueError("it has looked around")


@register_plugin
class Brings:
    @hookimpl
    def petal_resolvers(self):
        return {"vault": vault}
'''

#: A backend that writes down what it sends.
NOTING = '''
from pathlib import Path

from steps import forms

from petal import EnvironmentNotReady, hookimpl
from petal.testing import FakeBackend


class Noting(FakeBackend):
    """Keeps what is sent, and refuses to open with a label."""

    def open(self, settings, folder):
        if settings.label:
            raise EnvironmentNotReady(f"nobody at {settings.label}", hint=" ".join(forms(settings.label)))
        return super().open(settings, folder)

    def take(self, task):
        message = super().take(task)
        if task.payload.plain is None:
            Path(f"message-{task.node}-{task.attempt}").write_bytes(message)
        return message


@hookimpl
def petal_backends():
    return [Noting()]
'''

#: A program that speaks plain JSON, and fails.
PROGRAM = """
import json, os, sys
print(json.loads(os.environ["PETAL_PARAMS"])["secret"], json.load(sys.stdin), file=sys.stderr)
raise SystemExit(7)
"""


class Scenario(Struct, frozen=True):
    """A pipeline that fails, and how it is run.

    Attributes:
        name: What it is called.
        nodes: Its nodes.
        arguments: What is said behind ``petal run FILE``.
        code: The exit code that is expected.
        of_environment: Whether the secret comes from the environment, where it stands of course.
        shows: Whether what is said has a place where the secret would stand; None where that is a matter of time.
    """

    name: str
    nodes: list[dict[str, Any]]
    arguments: tuple[str, ...] = ()
    code: int = 1
    of_environment: bool = True
    shows: bool | None = True


#: Where the secret is asked for: as a whole parameter, within one, by the operator itself.
PLACES: Mapping[str, dict[str, Any]] = {
    "parameter": {"secret": f"${{secret:env/{VARIABLE}}}"},
    "text": {"secret": f"https://me:${{secret:env/{VARIABLE}}}@nowhere"},
    "vault": {"secret": "${secret:vault/db#password}"},
    "asked": {"reference": f"env/{VARIABLE}"},
    "asked-vault": {"reference": "vault/db#password"},
}
#: How a node is placed.
BACKENDS: Mapping[str, dict[str, Any]] = {
    "local": {},
    "process": {"execution": "process"},
    "moved": {"timeout": "30s"},
    "fake": {"execution": "fake"},
}
#: How it fails, and where: what ends the process belongs in one that is not the run's own.
WAYS: Mapping[str, tuple[str, ...]] = {
    "raises": ("local", "process", "moved", "fake"),
    "chained": ("local", "process", "moved", "fake"),
    "grouped": ("local", "process"),
    "known": ("local", "process", "moved", "fake"),
    "logs": ("local", "process", "moved", "fake"),
    "prints": ("local", "process", "moved"),
    "threads": ("local", "process"),
    "opens": ("local", "process", "fake"),
    "leaves": ("local", "process", "fake"),
    "dies": ("process", "moved"),
    "hangs": ("process", "moved"),
}
#: Said in turn, so that every way of telling what happens is seen.
_TOLD: tuple[tuple[str, ...], ...] = (
    (),
    ("--log-format", "json"),
    ("--debug",),
    ("--json",),
    ("--log-format", "console", "--debug"),
)


def scenarios() -> list[Scenario]:
    """Return all of them: ways to fail by places to be by places of the secret."""
    found: list[Scenario] = []

    def add(
        name: str,
        *nodes: dict[str, Any],
        code: int = 1,
        place: str = "parameter",
        shows: bool | None = True,
    ) -> None:
        told = _TOLD[len(found) % len(_TOLD)]
        found.append(Scenario(name, list(nodes), told, code, "vault" not in place, shows))

    places = list(PLACES)
    for way, backends in WAYS.items():
        for backend in backends:
            chosen = [places[len(found) % len(places)]]
            if way in ("dies", "hangs"):  # bytes that go past Python: the run knows what it was asked for
                chosen = ["parameter", "text"]
            for place in chosen:
                policy = dict(BACKENDS[backend])
                if way == "hangs":
                    policy["timeout"] = "4s"
                if way == "raises":
                    policy["retry"] = {"max_attempts": 2, "delay": "1ms"}
                node = {"id": "it", "type": "Fails", "params": {"how": way, **PLACES[place]}, **policy}
                add(f"{way}-{backend}-{place}", node, place=place, shows=None if way == "hangs" else True)
    for backend, place in [
        ("local", "vault"),
        ("process", "asked"),
        ("process", "asked-vault"),
        ("fake", "vault"),
    ]:
        policy, params = BACKENDS[backend], PLACES[place]
        for type in ("Gives", "Wraps"):
            given = {"id": "it", "type": type, "params": params, "cache": {"version": "1"}, **policy}
            takes = {"id": "takes", "type": "Takes", "inputs": {"given": "it"}, "effects": "once"}
            add(f"{type.lower()}-{backend}-{place}", given, takes, place=place)
        if backend != "local":  # what is given there crosses nothing, and nobody looks at it
            node = {"id": "it", "type": "Mistypes", "params": params, **policy}
            add(f"mistypes-{backend}-{place}", node, place=place)
    for place in ("vault", "asked-vault"):
        add(
            f"hides-process-{place}",
            {"id": "it", "type": "Hides", "params": PLACES[place], "execution": "process"},
            place=place,
            shows=False,
        )
        add(
            f"lists-process-{place}",
            {"id": "it", "type": "Lists", "params": PLACES[place], "execution": "process"},
            place=place,
            shows=False,
        )
    label = {"backend": "fake", "label": f"${{secret:env/{VARIABLE}}}"}
    add("settings", {"id": "it", "type": "Gives", "params": PLACES["vault"], "execution": label}, code=4)
    moved = {"backend": "fake", "label": f"${{secret:env/{VARIABLE}}}", "failover": ["local"]}
    add(
        "failover",
        {"id": "it", "type": "Fails", "params": {"how": "raises", **PLACES["vault"]}, "execution": moved},
    )
    program = {"backend": "fake", "protocol": "json", "command": ["python3", "program.py"]}
    add("program", {"id": "it", "type": "Program", "params": PLACES["text"], "execution": program})
    return found


def write(scenario: Scenario, folder: Path, plugins: Iterable[str] = ("./noting.py",)) -> None:
    """Write the files of a scenario; ``plugins`` are those beside its operators."""
    folder.mkdir(parents=True)
    (folder / "steps.py").write_text(STEPS)
    (folder / "noting.py").write_text(NOTING)
    (folder / "program.py").write_text(PROGRAM)
    text = {"name": "canary", "plugins": ["./steps.py", *plugins], "nodes": scenario.nodes}
    (folder / "pipeline.json").write_text(json.dumps(text, indent=1))


def traces(canaries: Iterable[Canary], folder: Path, said: Mapping[str, str | bytes]) -> dict[str, set[str]]:
    """Return where a canary has left which traces: in files, their names included, and in what commands said."""
    places = {name: text.encode() if isinstance(text, str) else text for name, text in said.items()}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        places[f"the name {name!r}"] = name.encode()
        if path.is_file():
            places[name] = path.read_bytes()
    found = {name: {t for canary in canaries for t in canary.traces(data)} for name, data in places.items()}
    return {name: those for name, those in found.items() if those}
