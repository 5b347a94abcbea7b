"""Collect findings, each placed in the file that its part came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from petal.interfaces.source import Part
from petal.spec.diagnostic import Diagnostic, Severity

PathTo = tuple[str | int, ...]


class Findings:
    """The list of findings of one validation, without repeats."""

    def __init__(self) -> None:
        self.all: list[Diagnostic] = []
        self._seen: set[tuple[object, ...]] = set()

    def extend(self, findings: Iterable[Diagnostic]) -> None:
        """Take over findings made elsewhere."""
        for finding in findings:
            identity = (finding.code, finding.message, finding.file, finding.line, finding.column)
            if identity not in self._seen:
                self._seen.add(identity)
                self.all.append(finding)

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
        self.extend([Diagnostic(code, severity, message, file, line, column, hint, place.chain)])

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
    """A part and the chain of module entries that led to it."""

    __slots__ = ("chain", "part")

    def __init__(self, part: Part, chain: tuple[str, ...] = ()) -> None:
        self.part = part
        self.chain = chain


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """Return ``did you mean `x`?`` when a candidate is close."""
    found = difflib.get_close_matches(name, list(candidates), 1, 0.6)
    if not found:
        lowered = {c.lower(): c for c in candidates}
        match = lowered.get(name.lower())
        return f"did you mean `{match}`?" if match else None
    return f"did you mean `{found[0]}`?"


def listing(names: Iterable[str], limit: int = 8) -> str:
    """Write names as a short list in prose, each in backticks."""
    all_names = list(names)
    text = ", ".join(f"`{n}`" for n in all_names[:limit])
    return text + (f" and {len(all_names) - limit} more" if len(all_names) > limit else "")
