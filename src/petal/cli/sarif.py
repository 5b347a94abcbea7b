"""Show findings as SARIF 2.1.0, which code scanning services and editors read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from petal.spec.redaction import redact
from petal.spec.url import is_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from petal.spec.diagnostic import Diagnostic

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_sarif(findings: Sequence[Diagnostic], *, completed: bool = True) -> dict[str, Any]:
    """Return findings as a SARIF log of one run.

    Args:
        findings: The findings; each is a result, and each of their codes a rule.
        completed: Whether every file could be looked at.
    """
    from petal import __version__

    codes = list(dict.fromkeys(finding.code for finding in findings))
    driver = {"name": "petal", "semanticVersion": _semantic(__version__), "version": __version__}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {**driver, "rules": [_rule(code) for code in codes]}},
                "invocations": [{"executionSuccessful": completed}],
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, codes.index(finding.code)) for finding in findings],
            }
        ],
    }


def _semantic(version: str) -> str:
    """Return a Python version as semantic versioning writes it: ``0.1.0.dev0`` is ``0.1.0-dev0``."""
    numbers = version.split(".")
    return ".".join(numbers[:3]) + ("-" + ".".join(numbers[3:]) if numbers[3:] else "")


def _rule(code: str) -> dict[str, Any]:
    """Describe a code; of one that a plugin's rules brought no more is known than its name."""
    from petal.spec.codes import CODES

    known = CODES.get(code)
    if known is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": known.summary},
        "fullDescription": {"text": known.why},
        "help": {"text": known.remedy},
        "defaultConfiguration": {"level": known.severity.value},
    }


def _result(finding: Diagnostic, rule: int) -> dict[str, Any]:
    text = finding.message + (f"\nhint: {finding.hint}" if finding.hint else "")
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity.value,
        "message": {"text": redact(text)},
    }
    if finding.file is not None:
        result["locations"] = [_location(finding.file, finding.line, finding.column)]
    if finding.chain:
        result["relatedLocations"] = [_from_module(place) for place in reversed(finding.chain)]
    return result


def _from_module(place: str) -> dict[str, Any]:
    """Return the place ``file:line:column`` of the entry of a module."""
    parts = place.rsplit(":", 2)
    located = len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal()
    found = _location(parts[0], int(parts[1]), int(parts[2])) if located else _location(place, 0, 0)
    return {**found, "message": {"text": "in the module that is used here"}}


def _location(file: str, line: int, column: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _artifact(file)}
    if line > 0:
        place["region"] = {"startLine": line, **({"startColumn": column} if column > 0 else {})}
    return {"physicalLocation": place}


def _artifact(file: str) -> dict[str, str]:
    """Return a file's URI: relative ones are meant from the root of what is checked, which services know."""
    if is_url(file):
        return {"uri": quote(file, safe=":/")}
    if Path(file).is_absolute():
        return {"uri": Path(file).as_uri()}
    return {"uri": quote(os.path.normpath(file).replace(os.sep, "/")), "uriBaseId": "%SRCROOT%"}
