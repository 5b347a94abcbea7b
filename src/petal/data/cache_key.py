"""Say in one key how an output comes about, from named parts that can be compared with those of another run (S9.2).

A part is a name and a short text: ``parameter pattern``, ``input lines``, ``code helpers:clean``. The key is a digest of
all parts, so what changes one of them makes a new key, and the parts of two runs say what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from petal.code.constants import Constants, Unwritable
from petal.code.fingerprint import fingerprint
from petal.data.artifact import LAYOUT, digest_of
from petal.data.codecs import Codecs
from petal.data.file_state import FileState
from petal.data.frames_wire import is_frame
from petal.data.type_text import type_text
from petal.errors import DataError
from petal.planning.values import file_use
from petal.spec.operator import OperatorSpec
from petal.spec.plan import PlanNode
from petal.spec.url import is_url
from petal.spec.views import READS, Seen, View, seen

#: Characters of a parameter that a part shows as they are.
_SHORT = 120
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_SECRET = "${secret:"
#: Types whose constants are told apart by their text; nothing of them has to be written as an artifact.
_PLAIN = frozenset((int, float, bool, str, type(None)))
_encode = msgspec.json.Encoder(order="sorted").encode


class NodeParts(Struct, frozen=True):
    """All that an output depends on, before its inputs are known.

    Attributes:
        parts: Named parts, without inputs and files.
        files: The files whose content counts.
        problems: Why the output cannot be cached, in whole sentences; empty where it can.
    """

    parts: dict[str, str]
    files: tuple[str, ...]
    problems: tuple[str, ...] = ()


#: What is known of the code of operators, by their keys in a plan: for one run, since code can change between runs.
Known = dict[str, tuple[dict[str, str], list[str]]]


def parts_of(node: PlanNode, spec: OperatorSpec, target: Any, known: Known | None = None) -> NodeParts:
    """Return what a node's output depends on besides its inputs.

    With ``version`` given, the author vouches for the code, and it is no part of the key (S9.2).

    Args:
        node: The node, whose ``cache`` policy says ``version`` and ``depends_on``; secrets are references still.
        spec: Its operator.
        target: The function or class; None for a program that speaks plain JSON.
        known: Takes what is found out of the operator's code, for further nodes of the same run.
    """
    policies = node.policies
    cache = policies.cache if policies is not None else None
    parts = {"operator": spec.name, "layout": str(LAYOUT), "Python": _PYTHON}
    problems: list[str] = []
    if cache is not None and cache.version is not None:
        parts["version"] = cache.version
    elif target is not None:
        code, found = (known or {}).get(node.operator) or _code(target)
        if known is not None:
            known[node.operator] = code, found
        parts |= code
        problems += found
    if (
        policies is not None and policies.execution.speaks_json
    ):  # the program is named there, and nowhere else
        for name, value in sorted(policies.execution.settings.items()):
            parts[f"setting {name}"] = _shown(json.dumps(value, sort_keys=True, default=repr))
    if policies is not None and policies.batch is not None:
        batch = policies.batch
        parts["batch"] = (
            f"{batch.size} rows of {batch.over}, {batch.max_bytes} bytes, ordered {batch.ordered}"
        )
    if node.columns is not None:
        parts["columns"] = ", ".join(node.columns)
    for name, value in node.params.items():
        annotation = getattr(spec.param(name), "annotation", Any)
        try:
            parts[f"parameter {name}"] = text_of(value, annotation)
        except DataError as error:
            problems.append(f"its parameter `{name}` cannot be told from others: {error.message}")
    depends_on = cache.depends_on if cache is not None else ()
    files = tuple(dict.fromkeys([*files_read(node, spec), *depends_on]))
    return NodeParts(parts, files, tuple(problems))


def files_read(node: PlanNode, spec: OperatorSpec) -> list[str]:
    """Return the files that a node's parameters name, by path or URL, and its operator says it reads (``READS``)."""
    found: list[str] = []
    for param in spec.params:
        if file_use(param.annotation) is READS:
            value = node.params.get(param.name, param.default)
            values = value if isinstance(value, list | tuple) else [value]
            found += [_file(one) for one in values if isinstance(one, str | os.PathLike)]
    return found


def _file(path: str | os.PathLike[str]) -> str:
    return str(path) if is_url(path) else str(Path(path))


def with_inputs(
    parts: Mapping[str, str], inputs: Mapping[str, str | Sequence[str]], files: Mapping[str, FileState]
) -> dict[str, str]:
    """Return the parts of a node with those of its inputs and files.

    Args:
        parts: Of :func:`parts_of`.
        inputs: The digest of what each input is fed with, by name; several for a variadic one.
        files: What its files were like, of :func:`petal.data.file_state.states_of`.
    """
    made = dict(parts)
    for name, digest in inputs.items():
        if isinstance(digest, str):
            made[f"input {name}"] = digest
        else:
            made |= {f"input {name}[{i}]": one for i, one in enumerate(digest)}
            made[f"input {name}"] = f"{len(digest)} of them"
    return made | {f"file {path}": state.digest for path, state in files.items()}


def key_of(parts: Mapping[str, str]) -> str:
    """Return the key of an output that comes about so: 64 hexadecimal digits."""
    try:
        text = _encode(parts)
    except UnicodeEncodeError:  # a path in no known encoding
        text = json.dumps(parts, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()


def digest_of_constant(value: Any, annotation: Any, view: Seen, codecs: Codecs | None = None) -> str:
    """Return the digest of a constant that feeds an input: of a stream, of the rows that it gives.

    Args:
        value: The constant.
        annotation: The input's annotation, or MISSING.
        view: The annotation taken apart.
        codecs: Those of plugins; None where none take part.

    Raises:
        DataError: It cannot be written.
    """
    if type(value) in _PLAIN:
        text = f"{type(value).__name__} {value!r} for {type_text(annotation)} {view.view.value}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    if not view.view.streams:
        return digest_of(value, annotation, view, codecs)
    pieces = value if view.view is View.BATCHES and not is_frame(value) else [value]
    return digest_of([list(value)] if isinstance(value, list | tuple) else pieces, annotation, view, codecs)


def text_of(value: Any, annotation: Any) -> str:
    """Write the value of a parameter, the same in every process; a long one as a digest.

    A secret is written as the reference to it.

    Raises:
        DataError: It is of a kind that cannot be written.
    """
    followed: list[str] = []

    def follow(found: Any) -> str:
        followed.append(fingerprint(found).digest)
        return f"{getattr(found, '__module__', '')}:{getattr(found, '__qualname__', '?')}"

    try:
        text = Constants(follow).text(value)
    except Unwritable:
        view = seen(annotation)
        return f"digest {digest_of([value] if view.view.streams else value, annotation, view)}"
    return _shown(" ".join([text, *followed]))


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say in whole sentences what differs between the parts of two runs of a node; empty where nothing does."""
    names = dict.fromkeys([*now, *before])
    told = [_change(n, before.get(n), now.get(n)) for n in names if before.get(n) != now.get(n)]
    found = [sentence for sentence in told if sentence]
    if found and before.get("operator") != now.get("operator"):  # all the rest follows from that
        return [s for s in found if s.startswith("the operator")]
    return list(dict.fromkeys(found))


def _code(target: Any) -> tuple[dict[str, str], list[str]]:
    found = fingerprint(target)
    return {f"code {name}": text for name, text in found.parts.items()}, found.problems + found.edited


def _shown(text: str) -> str:
    if len(text) <= _SHORT or _SECRET in text:
        return text
    return f"sha256 {hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


# -- sentences ------------------------------------------------------------------------------------------------

_USE = re.compile(r"(?P<who>.+?) (?P<how>uses|closure|imports) (?P<what>.+)")
_DEFAULTS = re.compile(r"(?P<who>.+?) (keyword )?defaults")
_FIELD = re.compile(r"(?P<who>.+?) (?P<what>members|__annotations__|_fields|\w+)")
_SAID = {
    "layout": "Petal stores outputs in another layout now",
    "columns": "other columns of its output are looked at",
    "batch": "its `batch` policy changed",
    "version": "its `version` changed",
}


def _change(name: str, before: str | None, now: str | None) -> str:
    kind, _, rest = name.partition(" ")
    if name == "operator":
        return f"the operator is `{now}`, and was `{before}`"
    if name == "Python":
        return f"Python is {now}, and was {before}"
    if name in _SAID:
        return _SAID[name] + _from_to(before, now)
    if kind == "parameter":
        return f"parameter `{rest}` {_became(before, now)}"
    if kind == "setting":
        return f"setting `{rest}` of its backend {_became(before, now)}"
    if kind == "input":
        if before is None or now is None:
            return f"input `{rest}` is {'new' if before is None else 'gone'}"
        return f"input `{rest}` changed"
    if kind == "file":
        return f"file `{rest}` {_of_file(before, now)}"
    return _code_change(rest, before, now)


def _code_change(name: str, before: str | None, now: str | None) -> str:
    if name.startswith("package "):
        package = name.removeprefix("package ")
        if before is None or now is None:
            return f"the code uses the package `{package}` {'now' if before is None else 'no more'}"
        return f"the package `{package}` is {now}, and was {before}"
    if name == "operator":
        return f"the operator is defined as `{now}`, and was as `{before}`"
    for pattern, what in (
        (_USE, "the value of `{what}`, which `{who}` uses,"),
        (_DEFAULTS, "a default of `{who}`"),
    ):
        match = pattern.fullmatch(name)
        if match is not None:
            return f"{what.format(**match.groupdict())} {_became(before, now)}"
    match = _FIELD.fullmatch(name)
    if match is not None:
        return f"`{match['what']}` of `{match['who']}` {_became(before, now)}"
    if before is None or now is None:
        return f"the code uses `{name}` {'now' if before is None else 'no more'}"
    return f"the code of `{name}` changed"


def _became(before: str | None, now: str | None) -> str:
    if before is None:
        return "is new"
    if now is None:
        return "is gone"
    return f"changed{_from_to(before, now)}"


def _from_to(before: str | None, now: str | None) -> str:
    if before is None or now is None or _is_digest(before) or _is_digest(now):
        return ""
    return f" from {_value(before)} to {_value(now)}"


def _value(text: str) -> str:
    """Return a value as its author would write it: ``str 'a'`` is ``'a'``, and ``int 1f`` is ``31``."""
    kind, _, rest = text.partition(" ")
    if kind == "regex":
        return rest.rpartition(" ")[0]
    if kind == "int":
        try:
            return str(int(rest, 16))
        except ValueError:
            return text
    return rest if kind in ("str", "float", "bool", "bytes", "NoneType", "PosixPath", "URL") else text


def _is_digest(text: str) -> bool:
    kind, _, rest = text.rpartition(" ")
    return kind in ("sha256", "digest", "") and re.fullmatch(r"[0-9a-f]{16,64}", rest) is not None


def _of_file(before: str | None, now: str | None) -> str:
    if before is None:
        return "is new"
    if now is None:
        return "counts no more"
    if now == "absent":
        return "is not there any more"
    return "is there now" if before == "absent" else "changed"
