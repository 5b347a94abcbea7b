"""What is known of one code of a finding."""

from __future__ import annotations

from msgspec import Struct

from petal.spec.diagnostic import Severity


class Code(Struct, frozen=True):
    """What is known of a code.

    Attributes:
        severity: How bad a finding of this code is.
        summary: What is wrong, in a few words.
        why: Why that is a mistake.
        remedy: What to do about it.
    """

    severity: Severity
    summary: str
    why: str
    remedy: str


def error(summary: str, why: str, remedy: str) -> Code:
    """Describe the code of an error."""
    return Code(Severity.ERROR, summary, why, remedy)
