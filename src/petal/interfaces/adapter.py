"""What an adapter is: something that brings a view of data, another library's frames (S3)."""

from __future__ import annotations

from typing import Any, Protocol


class Adapter(Protocol):
    """Makes a class of frames a view of data: operators take and give it as they do ``polars.DataFrame``.

    An input so annotated gets all rows as an object of that class, whatever feeds it; one that is given feeds every
    other view. Objects of the class may be read more than once, and are shared between nodes: reading changes none.

    A worker process makes adapters of its own: there it is an instance of the same class, made without arguments, and
    the class stands at the top level of its module.
    """

    @property
    def name(self) -> str:
        """What the class is called in plans and beside bytes: its package and its name, as ``geopandas.GeoDataFrame``."""
        ...

    def takes(self, kind: type) -> bool:
        """Say whether a class is the one that it brings; quick, imports nothing, raises nothing.

        Args:
            kind: The class of an annotation, or of a value.
        """
        ...

    def read(self, value: Any) -> Any:
        """Return the rows of an object, best without a copy, or a part at a time.

        Returns:
            What has ``__arrow_c_stream__``: a Table or RecordBatchReader of Arrow, a DataFrame of Polars.
        """
        ...

    def make(self, rows: Any) -> Any:
        """Return a new object of the class that it takes.

        Args:
            rows: A ``polars.DataFrame``, which has ``__arrow_c_stream__``. Single values are its column ``value``.
        """
        ...
