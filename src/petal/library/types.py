"""The names that a pipeline gives to the types of columns."""

from typing import Literal

import polars as pl

TypeName = Literal["str", "int", "float", "bool", "date", "datetime"]

_TYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def column_types(types: dict[str, TypeName] | None) -> dict[str, pl.DataType]:
    """Return the columns' Polars types, by the names that a pipeline uses."""
    return {column: _TYPES[name] for column, name in (types or {}).items()}


def type_name(kind: pl.DataType) -> str:
    """Return what a pipeline calls a Polars type, or Polars' own name."""
    return _NAMES.get(kind, str(kind))
