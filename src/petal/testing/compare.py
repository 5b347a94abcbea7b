"""Say where two values differ: by value and by type, NaN is itself, frames column by column."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from petal.spec.views import container_of


def difference(got: Any, expected: Any, where: str = "") -> str | None:
    """Say where and how a value is not the expected one, or return None where both are the same.

    Values are the same when their types are, and NaN is the same as NaN; ``0.0`` is not ``-0.0``, ``1`` is not
    ``True``, and a time at ``+02:00`` is not the same moment at another offset. ``pytest.approx`` may be expected.

    Args:
        got: What there is.
        expected: What should be there.
        where: The path to both, for the answer.
    """
    at = f" at {where}" if where else ""
    if type(expected).__module__.startswith("_pytest."):  # pytest.approx knows best what is near enough
        return None if got == expected else f"{_short(got)}{at} is not {_short(expected)}"
    if type(got) is not type(expected):
        return f"{_short(got)}{at} is a {_name(got)}, not a {_name(expected)} such as {_short(expected)}"
    kind = container_of(type(expected)) or _arrow_kind(expected)
    if kind:
        return _frames(got, expected, kind, where)
    if isinstance(expected, Mapping):
        return _mappings(got, expected, where)
    if isinstance(expected, Sequence) and not isinstance(expected, str | bytes | bytearray | range):
        return _sequences(got, expected, where)
    if isinstance(expected, AbstractSet):
        return _sets(got, expected, at)
    fields = _fields(expected)
    if fields is not None:
        found = (difference(getattr(got, f), getattr(expected, f), _join(where, f".{f}")) for f in fields)
        return next((d for d in found if d is not None), None)
    return None if _same(got, expected) else f"{_short(got)}{at} is not {_short(expected)}"


def _mappings(got: Mapping[Any, Any], expected: Mapping[Any, Any], where: str) -> str | None:
    at = f" at {where}" if where else ""
    keys, wanted = [(type(k), k) for k in got], [(type(k), k) for k in expected]
    if keys != wanted:
        return f"the keys{at} are {_short([*got])}, not {_short([*expected])}"
    found = (difference(got[k], expected[k], f"{where}[{k!r}]") for k in expected)
    return next((d for d in found if d is not None), None)


def _sequences(got: Sequence[Any], expected: Sequence[Any], where: str) -> str | None:
    for i, (a, b) in enumerate(zip(got, expected, strict=False)):
        found = difference(a, b, f"{where}[{i}]")
        if found is not None:
            return found
    if len(got) == len(expected):
        return None
    at = f" at {where}" if where else ""
    return f"there are {len(got)} entries{at}, not {len(expected)}: {_short(got)} is not {_short(expected)}"


def _sets(got: AbstractSet[Any], expected: AbstractSet[Any], at: str) -> str | None:
    ours, theirs = ({(type(v).__name__, repr(v)) for v in side} for side in (got, expected))
    return None if ours == theirs else f"{_short(got)}{at} is not {_short(expected)}"


def _frames(got: Any, expected: Any, kind: str, where: str) -> str | None:
    """Compare frames as Polars sees them, and the library's own schema."""
    import polars

    at = f" at {where}" if where else ""
    if kind == "polars.LazyFrame":
        got, expected = got.collect(), expected.collect()
    for word in ("schema", "dtypes", "type", "dtype"):
        ours, theirs = getattr(got, word, None), getattr(expected, word, None)
        if str(ours) != str(theirs):
            return f"the {kind}{at} has the {word} {ours}, not {theirs}"
    if len(got) != len(expected) and kind != "pyarrow.RecordBatchReader":
        return f"the {kind}{at} has {len(got)} rows, not {len(expected)}"
    if kind.startswith("pandas."):
        return None if got.equals(expected) else f"the {kind}{at} is\n{got}\nnot\n{expected}"
    if not kind.startswith("polars."):
        if not hasattr(got, "column_names"):
            got, expected = polars.Series(got), polars.Series(expected)
        else:
            got, expected = polars.DataFrame(got), polars.DataFrame(expected)
    same = got.equals(expected, null_equal=True)
    return None if same else f"the {kind}{at} is\n{got}\nnot\n{expected}"


def _arrow_kind(value: Any) -> str:
    """Name an Arrow array: each of its types has a class of its own."""
    return "pyarrow.Array" if hasattr(value, "__arrow_c_array__") else ""


def _same(got: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        if math.isnan(expected):
            return math.isnan(got)
        return bool(got == expected) and math.copysign(1, got) == math.copysign(1, expected)
    if isinstance(expected, decimal.Decimal):
        return str(got) == str(expected)
    if isinstance(expected, datetime.datetime):
        return bool(got == expected) and got.utcoffset() == expected.utcoffset()
    return bool(got == expected)


def _fields(value: Any) -> Sequence[str] | None:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [f.name for f in dataclasses.fields(value)]
    return None


def _join(where: str, name: str) -> str:
    return f"{where}{name}" if where else name.lstrip(".")


def _name(value: Any) -> str:
    return type(value).__qualname__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:120]} … {text[-60:]}"
