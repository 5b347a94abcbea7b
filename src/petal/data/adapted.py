"""Read and make what the adapters of plugins bring: frames of classes that Petal does not know (S3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from petal.code.loader import is_importable, reference
from petal.data.frames import batches_of, to_container
from petal.errors import DataError, PetalError
from petal.interfaces.adapter import Adapter
from petal.spec.operator import Input, OperatorSpec, Output


def adapter_for(value: Any, adapters: Iterable[Adapter]) -> Adapter | None:
    """Return the adapter that takes a value, None where none does."""
    kind = type(value)
    for adapter in adapters:
        if adapter.takes(kind):
            return adapter
    return None


def read_with(adapter: Adapter, value: Any) -> Iterator[Any]:
    """Return the rows of an adapter's object as batches of Polars, as they are asked for.

    Raises:
        DataError: The adapter fails, or gives what Arrow cannot read.
    """
    try:
        given = adapter.read(value)
        batches = batches_of(given)
    except PetalError:
        raise
    except Exception as error:
        raise _failed(adapter, f"read one {type(value).__name__}", error) from error
    if batches is None:
        raise DataError(
            f"adapter `{adapter.name}` read one {type(value).__name__} as one {type(given).__name__}, which has no rows",
            hint="its `read` returns what has `__arrow_c_stream__`, such as a Table of Arrow",
        )
    return batches


def make_with(adapter: Adapter, batches: list[Any], element: object) -> Any:
    """Join batches into an object of the class that an adapter brings.

    Args:
        adapter: The adapter.
        batches: DataFrames, or Series of single values.
        element: What the rows are declared to be; see :func:`petal.data.frames.to_container`.

    Raises:
        DataError: The batches do not fit together, or the adapter cannot make an object of them.
    """
    return made_by(adapter, to_container(batches, "polars.DataFrame", element))


def made_by(adapter: Adapter, rows: Any) -> Any:
    """Make an adapter's object of a DataFrame.

    Raises:
        DataError: The adapter cannot.
    """
    try:
        made = adapter.make(rows)
    except PetalError:
        raise
    except Exception as error:
        raise _failed(adapter, "make an object of these rows", error) from error
    if not adapter.takes(type(made)):
        raise DataError(
            f"adapter `{adapter.name}` made one {type(made).__name__}, which it does not take itself",
            hint="its `make` returns an object of the class that its `takes` says yes to",
        )
    return made


def whole_of(adapter: Adapter, value: Any) -> Any:
    """Return all rows of an adapter's object as one DataFrame.

    Raises:
        DataError: The adapter fails.
    """
    return to_container(list(read_with(adapter, value)), "polars.DataFrame")


# -- in another process ---------------------------------------------------------------------------------------


def references_to(specs: Iterable[OperatorSpec]) -> list[dict[str, Any]]:
    """Say by which classes another process makes the adapters that operators are described with; mostly none."""
    for spec in specs:
        ports: list[Input | Output] = [*spec.inputs, *spec.outputs]
        for port in ports:
            kinds = [type(adapter) for adapter in port.seen.adapters]
            return [msgspec.to_builtins(reference(kind)) for kind in kinds if is_importable(kind) is None]
    return []


def _failed(adapter: Adapter, what: str, error: Exception) -> DataError:
    return DataError(
        f"adapter `{adapter.name}` cannot {what}: {type(error).__name__}: {error}",
        hint="the plugin that brings it is at fault, or too old for the library; `petal plugins` shows its version",
    )
