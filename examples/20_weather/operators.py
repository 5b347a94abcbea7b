"""The operators that only this example needs."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from petal import Batches, EnvironmentNotReady, operator


@operator
def vega_csv(*, name: str) -> pl.DataFrame:
    """Read a CSV file that comes with the package vega_datasets.

    Args:
        name: The data set, such as ``seattle-temps``.

    Raises:
        EnvironmentNotReady: The package is not installed.
    """
    package = find_spec("vega_datasets")  # finds it without importing it
    if package is None or package.origin is None:
        raise EnvironmentNotReady("the package vega_datasets is missing", hint="pip install vega_datasets")
    return pl.read_csv(Path(package.origin).parent / "_data" / f"{name}.csv")


@operator(rowwise=True)
def readings(records: Batches[dict[str, Any]], *, city: str, date_format: str) -> Batches[dict[str, Any]]:
    """Give the records of any city the same three columns: city, month and temperature.

    Args:
        records: Records with ``date`` and ``temp``, in any order.
        city: The city that they are of.
        date_format: How ``date`` is written, as ``strptime`` takes it.
    """
    for frame in records:
        month = pl.col("date").str.to_datetime(date_format).dt.strftime("%Y-%m")
        yield frame.select(pl.lit(city).alias("city"), month.alias("month"), pl.col("temp").cast(pl.Float64))
