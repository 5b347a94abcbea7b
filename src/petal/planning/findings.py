"""Collect findings, each placed in the file that its part came from."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from petal.interfaces.source import Part
from petal.spec.diagnostic import Diagnostic, Severity

PathTo = tuple[str | int, ...]

#: Among more names than these, only one that is a single edit away is looked for: comparing all takes too long.
_MANY = 300
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


class Findings:
    """The list of findings of one validation, without repeats."""

    def __init__(self) -> None:
        self.all: list[Diagnostic] = []
        self._seen: set[tuple[object, ...]] = set()
        self._places: set[tuple[object, ...]] = set()

    def extend(self, findings: Iterable[Diagnostic]) -> None:
        """Take over findings made elsewhere."""
        for finding in findings:
            self._take(finding, finding.message)

    def _take(self, finding: Diagnostic, told: str) -> None:
        identity = (finding.code, told, finding.file, finding.line, finding.column)
        if identity in self._seen:
            return
        self._seen.add(identity)
        self._places.add((finding.file, finding.line, finding.column))
        if not (finding.message.isprintable() and (finding.hint or "").isprintable()):
            hint = None if finding.hint is None else _printable(finding.hint)
            finding = replace(finding, message=_printable(finding.message), hint=hint)
        self.all.append(finding)

    def reported(self, place: Place, path: PathTo, within: PathTo) -> bool:
        """Whether something is found already at ``path``, and that is more exact a place than ``within``."""
        at = place.part.source.locate(path)
        return at is not None and at != place.part.source.locate(within) and tuple(at) in self._places

    def add(
        self,
        place: Place,
        path: PathTo,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a finding about what stands at ``path`` in the part of ``place``."""
        at = place.part.source.locate(path, key=key)
        file, line, column = (at.file, at.line, at.column) if at else (place.part.source.file, 0, 0)
        finding = Diagnostic(code, severity, message, file, line, column, hint, place.chain)
        # A module that is used twice has each of its mistakes once.
        self._take(finding, message.replace(place.prefix, "") if place.prefix else message)

    def in_order(self) -> list[Diagnostic]:
        """Return the findings in the order of their files: the root's first, each from its top to its end."""
        files: dict[str | None, int] = {}
        for finding in self.all:
            files.setdefault(finding.file, -1 if not finding.chain else len(files))
        return sorted(self.all, key=lambda f: (files[f.file], f.line, f.column))

    @property
    def failed(self) -> bool:
        """Whether any finding is an error."""
        return any(f.severity is Severity.ERROR for f in self.all)


class Place:
    """A part, the chain of module entries that led to it, and what its ids begin with."""

    __slots__ = ("chain", "part", "prefix")

    def __init__(self, part: Part, chain: tuple[str, ...] = (), prefix: str = "") -> None:
        self.part = part
        self.chain = chain
        self.prefix = prefix


def _printable(text: str) -> str:
    """Escape what could move a terminal's cursor: names and values come from files."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\n", " ")
    )


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """Return ``did you mean `x`?`` when a candidate is close."""
    names = list(candidates)
    if len(names) > _MANY:
        close = _one_edit_away(name, set(names))
        return f"did you mean `{close}`?" if close else None
    import difflib  # only a mistake needs it

    found = difflib.get_close_matches(name, names, 1, 0.6)
    if not found:
        lowered = {c.lower(): c for c in names}
        match = lowered.get(name.lower())
        return f"did you mean `{match}`?" if match else None
    return f"did you mean `{found[0]}`?"


def _one_edit_away(name: str, names: set[str]) -> str | None:
    """Find a name that differs by one character, or by two that are swapped, without looking at each."""
    if len(name) > 80:
        return None
    cuts = [(name[:i], name[i:]) for i in range(len(name) + 1)]
    edits = [a + b[1:] for a, b in cuts if b] + [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1]
    edits += [a + c + rest for a, b in cuts for c in _LETTERS for rest in (b, b[1:])]
    return next((e for e in edits if e in names and e != name), None)


def listing(names: Iterable[str], limit: int = 8) -> str:
    """Write names as a short list in prose, each in backticks."""
    all_names = list(names)
    text = ", ".join(f"`{n}`" for n in all_names[:limit])
    return text + (f" and {len(all_names) - limit} more" if len(all_names) > limit else "")
