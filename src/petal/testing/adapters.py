"""The contract of adapters: another library's frames are seen in every view, made of every view, and sent to workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, given, settings
from msgspec.structs import replace

from petal.app.pipeline import Pipeline
from petal.app.session import Session
from petal.authoring.pipeline import node
from petal.code.loader import is_importable
from petal.code.reference import made
from petal.data.adapted import adapter_for, read_with, references_to
from petal.data.adapters import batch_rows, batches_of
from petal.data.values import decode_port, encode_port
from petal.data.wire import LIMITS, Spool, pack, unpack
from petal.errors import UsageError
from petal.interfaces.adapter import Adapter
from petal.spec.operator import adapted
from petal.spec.signature import describe
from petal.spec.views import Batches
from petal.testing.strategies import frames
from petal.testing.subject import check, check_same, giver

_EXAMPLES = 25


class AdapterContract:
    """Tests of a class of frames that Petal does not know; subclass it in a class whose name begins with ``Test``.

    Of an adapter they show that its class feeds every view, that an operator which asks for it gets it whatever feeds
    it, that reading changes nothing, and that frames go to a worker process and come back.

    ```python
    class TestOurFrames(AdapterContract):
        adapters = our_package

        def make(self, frame):
            return OurFrame.from_arrow(frame.to_arrow())
    ```

    A class needs no adapter where its objects have ``__arrow_c_stream__``, ``__arrow_c_array__`` or
    ``__dataframe__``: the tests then show that Petal reads them.

    Attributes:
        adapters: What brings the adapter: a module, class or object with ``petal_adapters``; None where none is needed.
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
            found = session.plugins.adapters()
            check(found, f"its `petal_adapters` brings no adapter: {session.plugins.warnings}")
        return session

    def adapter(self, session: Session) -> Adapter:
        """Return the adapter that takes what ``make`` makes; tests of adapters are skipped where none is needed."""
        if self.adapters is None:
            pytest.skip("the class needs no adapter")
        import polars as pl

        found = adapter_for(self.make(pl.DataFrame({"n": [1]})), session.plugins.adapters())
        check(found is not None, "none of its adapters takes what `make` makes")
        assert found is not None
        return found

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
            if view == "unannotated":
                found = _opened(found, made_session)
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

    @pytest.mark.parametrize("source", ["itself", "list", "batches", "polars", "pyarrow"])
    def test_an_operator_that_asks_for_it_gets_it(self, made_session: Session, source: str) -> None:
        """Whatever feeds an input that is annotated with the class, the operator sees an object of it with those rows."""
        adapter = self.adapter(made_session)
        change, needs = _SOURCES[source]
        if find_spec(needs) is None:
            pytest.skip(f"{needs} is not installed")

        @settings(max_examples=_EXAMPLES, deadline=None, phases=[Phase.generate])
        @given(frame=frames().filter(lambda found: found.width and found.height))
        def holds(frame: Any) -> None:
            held = self.make(frame)
            value, annotation = (held, type(held)) if change is None else change(frame)
            pipeline = Pipeline.of(
                node(giver(value, annotation), id="given"),
                node(_of_class(type(held)), id="seen", inputs={"rows": "given"}),
                name="contract",
                session=made_session,
            )
            seen = pipeline.run(targets=["seen"]).check().outputs["seen"]
            check(adapter.takes(type(seen)), f"the operator was given one {type(seen).__name__}")
            wanted = frame.to_dicts()
            if source == "list":  # such rows do not say of which width their numbers are
                wanted = self._seen(value, _as_frame, made_session).to_dicts()
            check_same(_rows(_opened(seen, made_session)), wanted, "what was made")

        holds()

    def test_it_goes_to_a_worker_and_comes_back(self, made_session: Session) -> None:
        """An adapter that a worker made of its class reads the bytes of a frame, and its frame has the same rows."""
        adapter = self.adapter(made_session)
        reason = is_importable(type(adapter))
        check(reason is None, f"a worker cannot make the adapter: {reason}")

        @settings(max_examples=_EXAMPLES, deadline=None, phases=[Phase.generate])
        @given(frame=frames().filter(lambda found: found.width))
        def holds(frame: Any) -> None:
            held = self.make(frame)
            kind = type(held)
            spec = adapted(describe(_of_class(kind)), (adapter,))
            (there,) = made("adapter", references_to([spec]))
            port = spec.inputs[0]
            far = replace(port.seen, adapters=(there,))
            spool = Spool()
            said = encode_port(held, kind, port.seen, spool, "the frame")
            message = unpack(pack({"frame": said}, spool), None)
            spool.close()
            back = decode_port(message.header["frame"], kind, far, message.parts, "the frame", LIMITS)
            check(type(back) is kind, f"it came back as one {type(back).__name__}")
            check_same(_rows(_opened(back, made_session)), frame.to_dicts(), "what came back")

        holds()

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
    """Take what an input without annotation gets."""
    return rows


def _opened(found: Any, session: Session) -> Any:
    """Return the rows of a frame of whichever class; anything else as it is."""
    adapter = adapter_for(found, session.plugins.adapters())
    batches = batches_of(found) if adapter is None else read_with(adapter, found)
    return found if batches is None else [row for batch in batches for row in batch_rows(batch)]


def _of_class(kind: type) -> Callable[..., Any]:
    """Return an operator that takes objects of a class and gives them back."""

    def frame(rows):  # type: ignore[no-untyped-def]
        return rows

    frame.__annotations__.update({"rows": kind, "return": kind})
    return frame


def _of_library(library: str, name: str) -> Callable[..., Any]:
    """Return an operator that takes a frame of a library and gives it back."""
    return _as_it_is if find_spec(library) is None else _of_class(getattr(__import__(library), name))


_READERS: dict[str, tuple[Callable[..., Any], str]] = {
    "items": (_as_items, "polars"),
    "batches": (_as_batches, "polars"),
    "list": (_as_list, "polars"),
    "polars": (_of_library("polars", "DataFrame"), "polars"),
    "pyarrow": (_of_library("pyarrow", "Table"), "pyarrow"),
    "pandas": (_of_library("pandas", "DataFrame"), "pandas"),
    "unannotated": (_as_it_is, "polars"),
}
_as_frame = _of_library("polars", "DataFrame")
#: What feeds an operator: the same rows in other views, each with its annotation; None for an object of the class.
_SOURCES: dict[str, tuple[Callable[[Any], tuple[Any, Any]] | None, str]] = {
    "itself": (None, "polars"),
    "list": (lambda frame: (frame.to_dicts(), list[dict[str, Any]]), "polars"),
    "batches": (lambda frame: ([frame[:1], frame[1:]], Batches[dict[str, Any]]), "polars"),
    "polars": (lambda frame: (frame, type(frame)), "polars"),
    "pyarrow": (lambda frame: (table := frame.to_arrow(), type(table)), "pyarrow"),
}
