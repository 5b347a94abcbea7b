"""`AdapterContract`: another library's frames, by the Arrow interface or by an adapter, and broken ones."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from petal import Session, hookimpl
from petal.errors import EnvironmentNotReady, NodeFailed
from petal.testing import AdapterContract


class Foreign:
    """A frame of a library that Petal does not know."""

    def __init__(self, held: pl.DataFrame) -> None:
        self._held = held

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._held.__arrow_c_stream__(requested_schema)


class TestForeign(AdapterContract):
    def make(self, frame: pl.DataFrame) -> Any:
        return Foreign(frame)


@pytest.mark.slow
class TestRecordBatchReader(AdapterContract):
    once = True

    def make(self, frame: pl.DataFrame) -> Any:
        return frame.to_arrow().to_reader()


class Closed:
    """A frame that shows nothing of what it holds; its rows are known to its own library alone."""

    def __init__(self, columns: dict[str, pl.Series]) -> None:
        self._columns = columns


class ClosedAdapter:
    """Brings `Closed`."""

    name = "closed.Closed"

    def takes(self, kind: type) -> bool:
        return kind is Closed

    def read(self, value: Closed) -> pl.DataFrame:
        return pl.DataFrame(list(value._columns.values()))

    def make(self, rows: pl.DataFrame) -> Any:
        return Closed({name: rows[name] for name in rows.columns})


class Brings:
    """A plugin of one adapter."""

    adapter: type = ClosedAdapter

    @hookimpl
    def petal_adapters(self) -> list[Any]:
        return [self.adapter()]


class TestClosed(AdapterContract):
    adapters = Brings

    def make(self, frame: pl.DataFrame) -> Any:
        return Closed({name: frame[name] for name in frame.columns})


class Reverses(ClosedAdapter):
    def read(self, value: Closed) -> pl.DataFrame:
        return super().read(value).reverse()


class MakesOneRow(ClosedAdapter):
    def make(self, rows: pl.DataFrame) -> Any:
        return super().make(rows.head(1))


class MakesFrames(ClosedAdapter):
    def make(self, rows: pl.DataFrame) -> Any:
        return rows


class WantsMore(ClosedAdapter):
    def __init__(self, more: int) -> None:
        self.more = more


class ReadsNothing(ClosedAdapter):
    def read(self, value: Closed) -> Any:  # type: ignore[override]
        return value


def contract(kind: type, **more: Any) -> tuple[AdapterContract, Session]:
    """Return the contract of an adapter, and its session."""
    brings = type("Brings", (Brings,), {"adapter": lambda self: kind(**more)})
    found = type("Contract", (TestClosed,), {"adapters": brings})()
    session = Session()
    session.register(brings, "brings")
    return found, session


def test_an_adapter_that_changes_rows_is_found() -> None:
    """Positive controls of what is read, made and sent."""
    found, session = contract(Reverses)
    with pytest.raises(AssertionError, match="what was seen of the frame"):
        found.test_its_rows_are_seen_in_every_view(session, "list")
    found, session = contract(MakesOneRow)
    with pytest.raises(AssertionError, match="what was made"):
        found.test_an_operator_that_asks_for_it_gets_it(session, "list")
    with pytest.raises(AssertionError, match="what came back"):
        found.test_it_goes_to_a_worker_and_comes_back(session)


def test_an_adapter_that_no_worker_can_make_is_found() -> None:
    """A worker process makes an adapter of its class alone."""
    found, session = contract(WantsMore, more=1)
    with pytest.raises(
        EnvironmentNotReady, match="adapter `WantsMore` cannot be made in a worker: TypeError"
    ):
        found.test_it_goes_to_a_worker_and_comes_back(session)


def test_an_adapter_that_gives_what_it_should_not_is_named() -> None:
    """The node fails with what its adapter did."""
    found, session = contract(MakesFrames)
    with pytest.raises(
        NodeFailed, match=r"`closed\.Closed` made one DataFrame, which it does not take itself"
    ):
        found.test_an_operator_that_asks_for_it_gets_it(session, "list")
    found, session = contract(ReadsNothing)
    with pytest.raises(
        NodeFailed, match=r"`closed\.Closed` read one Closed as one Closed, which has no rows"
    ):
        found.test_its_rows_are_seen_in_every_view(session, "items")


class LosesRows(AdapterContract):
    def make(self, frame: pl.DataFrame) -> Any:
        return Foreign(frame.head(1))


class Once(AdapterContract):
    def make(self, frame: pl.DataFrame) -> Any:
        return frame.to_arrow().to_reader()


@pytest.mark.parametrize("view", ["items", "batches", "list", "polars", "pyarrow", "pandas", "unannotated"])
def test_a_frame_that_loses_rows_is_found(view: str) -> None:
    """A positive control for each view."""
    with pytest.raises(AssertionError, match="what was seen of the frame"):
        LosesRows().test_its_rows_are_seen_in_every_view(Session(), view)


def test_a_frame_that_is_empty_when_it_is_read_again_is_found() -> None:
    """A reader of Arrow flows by only once, and has to say so."""
    with pytest.raises(AssertionError, match="there are 0 entries, not 2"):
        Once().test_it_may_be_read_again(Session())
