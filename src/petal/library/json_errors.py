"""What to say of JSON that cannot be read: which row or entry it is, and what to do."""

import json
import math
from typing import Any

from petal import DataError, RowError
from petal.library.blocks import not_utf8
from petal.library.paths import File

#: Digits of a number that an error shows.
_DIGITS = 40
#: Digits from which a number is not converted.
_LONG = 1000
#: The remedy for a file that is indented.
SPREAD = (
    "the file seems to be one JSON document over several lines: write one object on each line "
    "(`jq -c . FILE`), or one array of objects"
)
#: The remedy for a number that is too large.
AS_TEXT = "write it in quotes, as text, and set `types: { FIELD: str }` if other rows have numbers"


def loads(data: bytes) -> Any:
    """Parse JSON, also with numbers of more digits than Python converts, which become infinite."""
    return json.loads(data, parse_int=lambda digits: int(digits) if len(digits) < _LONG else math.inf)


def is_spread(rows: list[bytes], at: int) -> bool:
    """Whether a row that is not JSON is only the beginning of an object that goes on in the next row."""
    if any(row.strip() for row in rows[: at - 1]) or not rows[at - 1].lstrip().startswith(b"{"):
        return False
    following = next((row for row in rows[at:] if row.strip()), b"{").lstrip()
    return following[:1] in (b'"', b"}")


def too_large(value: Any, limit: int = 2**127) -> str | None:
    """Say which number, in a value of JSON, cannot be read; Polars reads whole ones of up to 128 bits."""
    if isinstance(value, dict | list):
        entries = value.values() if isinstance(value, dict) else value
        return next((found for entry in entries if (found := too_large(entry, limit))), None)
    if isinstance(value, float) and math.isinf(value):
        return "holds a number that is too large for 64 bits"
    if isinstance(value, int) and not -limit <= value < limit:
        return f"holds {_shortened(value)}, which is too large for a 64-bit integer"
    return None


def _shortened(number: int) -> str:
    text = str(number)
    return text if len(text) <= _DIGITS else f"{text[:_DIGITS]}... ({len(text)} digits)"


class Misfit(Exception):
    """A field that the schema does not take."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"field {field!r} {why}")
        self.field = field
        self.why = why


def explain_array(error: Exception, data: bytes, path: File, before: int) -> DataError:
    """Return the error for an array that Polars, or the schema, refuses.

    Args:
        error: What they say.
        data: The array's text.
        path: Its file.
        before: How many lines of the file come before it.
    """
    if bad := not_utf8(data, path, before):
        return bad
    try:
        values = loads(data)
    except json.JSONDecodeError as problem:
        line = before + problem.lineno
        return RowError(
            f"line {line} of {str(path)!r} is not JSON: {problem.msg} (column {problem.colno})",
            row=line,
            hint="correct the file; it begins with `[`, so it is read as one array of objects",
        )
    except RecursionError:
        return DataError(f"{str(path)!r} is nested too deeply", hint="flatten the objects")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            return RowError(
                f"entry {number} of the array in {str(path)!r} is not an object but {type(value).__name__}",
                row=number,
                hint="the array must hold objects only",
            )
        for key, entry in value.items():
            if found := too_large(entry):
                where = f"entry {number} of the array in {str(path)!r}: field {key!r}"
                return RowError(f"{where} {found}", row=number, field=key, hint=AS_TEXT)
    return _unlike_objects(error, values, path)


def _unlike_objects(error: Exception, values: list[dict[str, Any]], path: File) -> RowError:
    """Return the error for objects of which each is fine, but not beside the others."""
    hint = "make the values alike, set `types` for the field, or read only the `columns` that are needed"
    if isinstance(error, Misfit):
        return RowError(
            f"the objects in {str(path)!r} do not fit together: {error}", field=error.field, hint=hint
        )
    first: dict[str, str] = {}
    for number, value in enumerate(values, 1):
        for key, entry in value.items():
            if entry is None:
                continue
            kind = _form(entry)
            if first.setdefault(key, kind) != kind:
                return RowError(
                    f"the objects in {str(path)!r} do not fit together: field {key!r} of entry {number} is "
                    f"{json.dumps(entry)[:80]}, but the entries before have {first[key]}",
                    row=number,
                    field=key,
                    hint=hint,
                )
    return RowError(f"the objects in {str(path)!r} do not fit together", hint=hint)


def _form(value: Any) -> str:
    """Return which of the three forms a value of JSON has: those that no type holds together."""
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a plain value"
