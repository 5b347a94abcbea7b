"""`AdapterContract`: another library's frames, through the Arrow interface that Petal reads, and a broken one."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from petal import Session
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


class TestRecordBatchReader(AdapterContract):
    once = True

    def make(self, frame: pl.DataFrame) -> Any:
        return frame.to_arrow().to_reader()


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
