"""The contract of adapters: another library's frames are seen in every view, with the rows that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, given, settings

from petal.app.pipeline import Pipeline
from petal.app.session import Session
from petal.authoring.pipeline import node
from petal.errors import UsageError
from petal.spec.views import Batches
from petal.testing.strategies import frames
from petal.testing.subject import check, check_same, giver

_EXAMPLES = 25


class AdapterContract:
    """Tests of a class of frames that Petal does not know; subclass it in a class whose name begins with ``Test``.

    ```python
    class TestOurFrames(AdapterContract):
        adapters = our_package

        def make(self, frame):
            return OurFrame.from_arrow(frame.to_arrow())
    ```

    A class needs no adapter where its objects have ``__arrow_c_stream__``, ``__arrow_c_array__`` or
    ``__dataframe__``: the tests then show that Petal reads them.

    Attributes:
        adapters: What brings the adapters: a module, class or object with ``petal_adapters``; None where none is needed.
        once: Whether an object can be read only once, as a stream of batches can.
    """

    adapters: ClassVar[Any] = None
    once: ClassVar[bool] = False

    def make(self, frame: Any) -> Any:  # noqa: ARG002
        """Return an object of the tested class that holds the rows of a Polars DataFrame.

        Raises:
            UsageError: The subclass does not define it.
        """
        raise UsageError(
            f"{type(self).__name__} does not say how its frames are made", hint="define `make(self, frame)`"
        )

    @pytest.fixture
    def made_session(self) -> Session:
        """A session in which the adapters take part."""
        session = Session()
        if self.adapters is not None:
            session.register(self.adapters, name="the tested adapters")
            check(session.plugins.adapters(), "its `petal_adapters` brings no adapter")
        return session

    @pytest.mark.parametrize(
        "view", ["items", "batches", "list", "polars", "pyarrow", "pandas", "unannotated"]
    )
    def test_its_rows_are_seen_in_every_view(self, made_session: Session, view: str) -> None:
        """Any frame, those without rows among them, gives the rows that it holds."""
        reader, needs = _READERS[view]
        if find_spec(needs) is None:
            pytest.skip(f"{needs} is not installed")

        @settings(max_examples=_EXAMPLES, deadline=None, phases=[Phase.generate])
        @given(frame=frames().filter(lambda found: found.width))
        def holds(frame: Any) -> None:
            found = self._seen(self.make(frame), reader, made_session)
            wanted = frame
            if view == "pandas":  # it has no integers with gaps, among others: what it makes of the same rows
                wanted = self._seen(frame, reader, made_session)
            check_same(_rows(found), _rows(wanted), "what was seen of the frame")

        holds()

    def test_it_may_be_read_again(self, made_session: Session) -> None:
        """Two consumers see the same rows, and the object is as it was."""
        if self.once:
            pytest.skip("it can be read only once")
        import polars as pl

        held = self.make(pl.DataFrame({"n": [1, None], "t": ["a", None]}))
        for _ in range(2):
            found = self._seen(held, _as_items, made_session)
            check_same(found, [{"n": 1, "t": "a"}, {"n": None, "t": None}], "what was seen")

    def _seen(self, value: Any, reader: Callable[..., Any], session: Session) -> Any:
        pipeline = Pipeline.of(
            node(giver(value, type(value)), id="given"),
            node(reader, id="seen", inputs={"rows": "given"}),
            name="contract",
            session=session,
        )
        return pipeline.run(targets=["seen"]).check().outputs["seen"]


def _rows(found: Any) -> Any:
    """Return rows as dicts, whatever holds them."""
    if isinstance(found, list):
        return found
    if hasattr(found, "to_dicts"):
        return found.to_dicts()
    if hasattr(found, "to_pylist"):
        return found.to_pylist()
    return found


def _as_items(rows: Iterator[dict[str, Any]]) -> list[Any]:
    """Read items."""
    return list(rows)


def _as_batches(rows: Batches[dict[str, Any]]) -> list[Any]:
    """Read batches."""
    return [row for batch in rows for row in batch.to_dicts()]


def _as_list(rows: list[dict[str, Any]]) -> list[Any]:
    """Read a list."""
    return rows


def _as_it_is(rows):  # type: ignore[no-untyped-def]
    """Take what an input without annotation gets, and read it as a frame."""
    from petal.data.adapters import batch_rows, batches_of

    batches = batches_of(rows)
    return list(rows) if batches is None else [row for batch in batches for row in batch_rows(batch)]


def _of_library(library: str, name: str) -> Callable[..., Any]:
    """Return an operator that takes a frame of a library and gives it back."""

    def frame(rows):  # type: ignore[no-untyped-def]
        return rows

    if find_spec(library) is not None:
        kind = getattr(__import__(library), name)
        frame.__annotations__.update({"rows": kind, "return": kind})
    return frame


_READERS: dict[str, tuple[Callable[..., Any], str]] = {
    "items": (_as_items, "polars"),
    "batches": (_as_batches, "polars"),
    "list": (_as_list, "polars"),
    "polars": (_of_library("polars", "DataFrame"), "polars"),
    "pyarrow": (_of_library("pyarrow", "Table"), "pyarrow"),
    "pandas": (_of_library("pandas", "DataFrame"), "pandas"),
    "unannotated": (_as_it_is, "polars"),
}
