"""One finding about a pipeline, and the vocabulary of severities."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """How bad a finding is: only an error keeps a pipeline from running."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Diagnostic(Struct, frozen=True, order=False):
    """One finding, with its place and its remedy.

    Attributes:
        code: Stable code, documented in ``petal describe codes`` (see ``spec/codes.py``).
        severity: ``error``, ``warning`` or ``note``.
        message: What is wrong, in one sentence.
        file: The file as the user named it, or None where there is no file.
        line: 1-based line, 0 where unknown.
        column: 1-based column in characters, 0 where unknown.
        hint: The remedy.
        chain: For a finding inside a module: ``file:line:column`` of each module entry that led there, outermost first.
    """

    code: str
    severity: Severity
    message: str
    file: str | None = None
    line: int = 0
    column: int = 0
    hint: str | None = None
    chain: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The place as ``file:line:column``, as far as it is known."""
        parts = [self.file or "<pipeline>"]
        if self.line:
            parts.append(str(self.line))
            if self.column:
                parts.append(str(self.column))
        return ":".join(parts)


def errors_of(findings: list[Diagnostic]) -> list[Diagnostic]:
    """Return only the findings that keep a pipeline from running."""
    return [f for f in findings if f.severity is Severity.ERROR]


def summary(name: str, errors: list[Diagnostic]) -> str:
    """Say in a few lines what keeps a pipeline from running."""
    lines = [f"pipeline `{name}` has {len(errors)} mistake{'s' if len(errors) != 1 else ''}"]
    for finding in errors[:10]:
        lines.append(f"  {finding.place}: {finding.message}" + (f" ({finding.hint})" if finding.hint else ""))
    if len(errors) > 10:
        lines.append(f"  and {len(errors) - 10} more: see `diagnostics`")
    return "\n".join(lines)
