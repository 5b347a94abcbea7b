"""Collect the mistakes of a file, each at its place and in the file's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from petal.spec.codes import CODES
from petal.spec.diagnostic import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from petal.config.syntax import Document

#: A place in a document's data: keys and indices from the top.
Path = tuple[str | int, ...]

#: A ``${...}`` reference; ``$${`` is the escape (S7.3 of SEMANTICS.md calls it a literal).
REFERENCE = re.compile(r"(?<!\$)\$\{")

_NUMBER = re.compile(r"\s*[-+]?\d+(\.\d+)?\s*")
_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off"})
#: What people write for a key of Petal's when they come from another tool.
_SYNONYMS = {
    "name": "id",
    "task": "type",
    "operator": "type",
    "op": "type",
    "kind": "type",
    "uses": "type",
    "class": "type",
    "args": "params",
    "arguments": "params",
    "config": "params",
    "options": "params",
    "settings": "params",
    "with": "params",
    "backend": "execution",
    "target": "execution",
    "depends_on": "after",
    "needs": "after",
    "upstream": "after",
    "steps": "nodes",
    "tasks": "nodes",
    "operators": "nodes",
    "connections": "edges",
    "links": "edges",
    "variables": "params",
    "vars": "params",
    "attempts": "max_attempts",
    "file": "path",
    "source": "from",
    "target_node": "to",
}


def show(value: object) -> str:
    """Name a value as its author wrote it, shortened."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return (
            f"the number {shorten(str(value))}"
            if not isinstance(value, int) or value.bit_length() < 999
            else "a huge number"
        )
    if isinstance(value, str):
        return f"the text {shorten(value)!r}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return "something else"


def shorten(text: str, limit: int = 60) -> str:
    """Cut a text that would make a message unreadable."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def similar(word: object, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant."""
    names = list(known)
    if not isinstance(word, str) or len(word) > 80:
        return None
    folded = {n.lower(): n for n in names}
    meant = _SYNONYMS.get(word.lower())
    if word.lower() == "target" and "to" in names:  # of an edge
        return "to"
    if meant in names:
        return meant
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(word.lower(), folded, 1)
    return folded[close[0]] if close else None


class Findings:
    """The mistakes found in a document so far."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.items: list[Diagnostic] = []

    def add(self, code: str, message: str, path: Path, *, hint: str | None = None, key: bool = False) -> None:
        """Note a mistake at the value under ``path``, or at its key."""
        line, column = self.document.locate(path, key=key)
        self.items.append(
            Diagnostic(code, CODES[code].severity, message, self.document.file, line, column, hint)
        )

    def place(self, path: Path, *, key: bool = False) -> str:
        """Return ``file:line:column`` of a path, for a message that names a second place."""
        line, column = self.document.locate(path, key=key)
        return f"{self.document.file}:{line}:{column}"


class Part:
    """A mapping of the document: its data, its path, and what messages call it.

    The accessors return None, or something empty, for what is not said or null, and note what is wrong.
    """

    __slots__ = ("data", "findings", "meant", "path", "where")

    def __init__(self, findings: Findings, data: dict[str, Any], path: Path, where: str) -> None:
        self.findings = findings
        self.data = data
        self.path = path
        self.where = where
        self.meant: dict[str, str] = {}

    def name(self, key: object) -> str:
        """Name a key of this part for a message."""
        return f"`{shorten(str(key))}` of {self.where}" if self.where else f"`{shorten(str(key))}`"

    def add(
        self, code: str, message: str, *keys: str | int, hint: str | None = None, at_key: bool = False
    ) -> None:
        """Note a mistake at the value beneath ``keys``, or at the last of these keys."""
        self.findings.add(code, message, (*self.path, *keys), hint=hint, key=at_key)

    def inside(self, key: str, data: dict[str, Any]) -> Part:
        """Return the part beneath a key whose value is the mapping ``data``."""
        return self.beneath((key,), data, self.name(key))

    def beneath(self, keys: Path, data: dict[str, Any], where: str) -> Part:
        """Return the part beneath several keys whose value is the mapping ``data``, and which messages call so."""
        return Part(self.findings, data, (*self.path, *keys), where)

    def wrong(self, wanted: str, *keys: str | int, value: object, what: str, hint: str | None = None) -> None:
        """Note that a value is of the wrong type: what was found and what is wanted."""
        if hint is None:
            hint = _type_hint(value, wanted)
        self.add("wrong-type", f"{what} is {show(value)}, but {wanted} is wanted", *keys, hint=hint)

    def check_keys(self, known: Iterable[str], hint: str | None = None, *, passed_over: str = "") -> None:
        """Note every key that is not known here; ``meant`` gets the known keys that were probably meant."""
        names = list(known)
        for key in self.data:
            if key in names or key == passed_over:
                continue
            meant = similar(key, names)
            if meant in self.data:
                remedy = f"`{meant}` is there already: remove this one"
            elif meant:
                self.meant.setdefault(meant, key)
                remedy = f"did you mean `{meant}`?"
            else:
                remedy = hint or f"the keys are {', '.join(names)}"
            message = f"{self.where or 'a pipeline'} has no key `{shorten(str(key))}`"
            self.add("unknown-key", message, key, hint=remedy, at_key=True)

    def text(self, key: str) -> str | None:
        """Read a text that is not empty."""
        value = self.data.get(key)
        if type(value) is str:
            if value.strip():
                return value
            self.add(
                "bad-value", f"{self.name(key)} is empty", key, hint="write a text, or leave the key out"
            )
        elif value is not None:
            self.wrong("text", key, value=value, what=self.name(key))
        return None

    def fixed_text(self, key: str, code: str) -> str | None:
        """Read a text that may hold no reference."""
        value = self.text(key)
        return None if value is None or self.refuse_reference(value, key, code=code) else value

    def texts(self, key: str, *, code: str = "bad-value") -> tuple[str, ...]:
        """Read a list of texts without references, or one text alone."""
        value = self.data.get(key)
        if type(value) is str:
            found = self.fixed_text(key, code)
            return () if found is None else (found,)
        if not isinstance(value, list):
            if value is not None:
                self.wrong("a list", key, value=value, what=self.name(key))
            return ()
        items = []
        for i, item in enumerate(value):
            what = f"item {i + 1} of {self.name(key)}"
            if type(item) is not str:
                self.wrong("text", key, i, value=item, what=what)
            elif not item.strip():
                self.add("bad-value", f"{what} is empty", key, i, hint="remove it")
            elif not self.refuse_reference(item, key, i, code=code):
                items.append(item)
        return tuple(items)

    def mapping(self, key: str, hint: str | None = None) -> dict[str, Any]:
        """Read a mapping."""
        value = self.data.get(key)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.wrong("a mapping", key, value=value, what=self.name(key), hint=hint)
        return {}

    def flag(self, key: str) -> bool | None:
        """Read true or false."""
        value = self.data.get(key)
        if value is None or isinstance(value, bool):
            return value
        if not self.refuse_reference(value, key, code="bad-policy"):
            self.wrong("true or false", key, value=value, what=self.name(key))
        return None

    def refuse_reference(self, value: object, *keys: str | int, code: str) -> bool:
        """Note a ``${...}`` reference where none can stand; return whether there was one."""
        if type(value) is not str or "${" not in value or not REFERENCE.search(value):
            return False
        label = self.name(keys[0]) if len(keys) == 1 else f"item {int(keys[-1]) + 1} of {self.name(keys[0])}"
        self.add(
            code,
            f"{label} holds a reference, {shorten(value)!r}, and none can stand here",
            *keys,
            hint="write the value itself: `${...}` may stand in params and in the settings of execution",
        )
        return True


def _type_hint(value: object, wanted: str) -> str | None:
    """Say how to write what was probably meant."""
    if isinstance(value, str):
        if "number" in wanted and _NUMBER.fullmatch(value):
            return f"write {value.strip()} without quotes"
        if "true or false" in wanted and value.strip().lower() in _SWITCHES:
            return "write true or false, without quotes"
        if wanted == "a list":
            return f"write [{shorten(value)}]"
    elif wanted == "text":
        if isinstance(value, bool):
            return f"put it in quotes: '{str(value).lower()}'"
        if isinstance(value, int | float):
            return f"put it in quotes: '{shorten(str(value))}'"
    return None
