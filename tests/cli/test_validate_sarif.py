"""`petal validate --format sarif`: a log that code scanning services read (SARIF 2.1.0)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest

from petal.cli.sarif import as_sarif
from petal.spec.codes import CODES
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.redaction import hide

_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
_LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "additionalProperties": False,
    "properties": {
        "message": _TEXT,
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "additionalProperties": False,
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "required": ["uri"],
                    "additionalProperties": False,
                    "properties": {
                        "uri": {"type": "string", "pattern": r"^[!-~]+$", "not": {"pattern": r"[ \\]"}},
                        "uriBaseId": {"const": "%SRCROOT%"},
                    },
                },
                "region": {
                    "type": "object",
                    "required": ["startLine"],
                    "additionalProperties": False,
                    "properties": {
                        "startLine": {"type": "integer", "minimum": 1},
                        "startColumn": {"type": "integer", "minimum": 1},
                    },
                },
            },
        },
    },
}
#: What the standard asks of the parts of it that Petal writes, closed against any other.
SCHEMA = {
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "rules"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"const": "petal"},
                                    "version": {"type": "string"},
                                    "semanticVersion": {
                                        "type": "string",
                                        "pattern": r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$",
                                    },
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string", "minLength": 1},
                                                "shortDescription": _TEXT,
                                                "fullDescription": _TEXT,
                                                "help": _TEXT,
                                                "defaultConfiguration": {
                                                    "type": "object",
                                                    "properties": {"level": _LEVEL},
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "additionalProperties": False,
                            "properties": {"executionSuccessful": {"type": "boolean"}},
                        },
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["ruleId", "ruleIndex", "level", "message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": _LEVEL,
                                "message": _TEXT,
                                "locations": {"type": "array", "minItems": 1, "items": _LOCATION},
                                "relatedLocations": {"type": "array", "items": _LOCATION},
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_findings_of_files(petal, tmp_path):
    """Every finding of the text form is a result with its place, and its code a rule; the exit code is the same."""
    (tmp_path / "bad one.yaml").write_text(
        "nodes:\n  - {id: a, type: Nope}\n  - {id: b, type: RegexFilter, params: {patern: x}}\n"
    )
    (tmp_path / "good.yaml").write_text("nodes:\n  - {id: a, type: NoOpSource}\n")
    ran = petal("validate", "bad one.yaml", "good.yaml", "--format", "sarif")
    jsonschema.validate(ran.data, SCHEMA)
    (run,) = ran.data["runs"]
    listed = petal("validate", "bad one.yaml", "good.yaml", "--format", "json").data
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [(f["code"], f["severity"]) for f in listed]
    assert len(listed) > 1
    for result, finding in zip(run["results"], listed, strict=True):
        place = result["locations"][0]["physicalLocation"]
        assert unquote(place["artifactLocation"]["uri"]) == finding["file"]
        assert place["region"] == {"startLine": finding["line"], "startColumn": finding["column"]}
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert rule["shortDescription"]["text"] == CODES[result["ruleId"]].summary
    assert (ran.code, run["invocations"]) == (3, [{"executionSuccessful": True}])


def test_no_findings(petal, chain):
    """A valid pipeline is a log without results, which closes alerts of an earlier one."""
    ran = petal("validate", "chain.yaml", "--format", "sarif")
    jsonschema.validate(ran.data, SCHEMA)
    assert (ran.code, ran.data["runs"][0]["results"]) == (0, [])


def test_a_file_that_is_not_there(petal):
    """A file that cannot be looked at is a result, and the run is marked as not successful."""
    ran = petal("validate", "nope.yaml", "--format", "sarif")
    jsonschema.validate(ran.data, SCHEMA)
    assert ran.code == 2
    assert ran.data["runs"][0]["invocations"] == [{"executionSuccessful": False}]
    assert len(ran.data["runs"][0]["results"]) == 1


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize(
    "code",
    ["cycle", "x-of-a-plugin", *(pytest.param(c, marks=pytest.mark.slow) for c in CODES if c != "cycle")],
)
def test_every_code(code, severity):
    """Any code, known or a plugin's, with or without a place, makes a log that fits."""
    findings = [
        Diagnostic(code, severity, "m"),
        Diagnostic(code, severity, "m", "ä b#?.yaml", 3, 0, "h"),
        Diagnostic(code, severity, "m", str(Path("/x y/z.yaml")), 3, 7, None, ("a:b.yaml:1:2", "odd")),
    ]
    jsonschema.validate(as_sarif(findings), SCHEMA)


def test_modules_and_secrets():
    """A finding in a module says who used it; secrets are hidden."""
    hide("hunter2-secret")
    finding = Diagnostic(
        "cycle", Severity.ERROR, "hunter2-secret is in it", "m.yaml", 1, 1, None, ("a.yaml:5:7",)
    )
    (result,) = as_sarif([finding])["runs"][0]["results"]
    assert "hunter2" not in result["message"]["text"]
    (related,) = result["relatedLocations"]
    assert related["physicalLocation"]["region"] == {"startLine": 5, "startColumn": 7}
