"""Which shapes of functions and classes are operators, and what is read from them (S1)."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict

import pytest

from petal import Batches, Context, DefinitionError, Pipeline, Severity, node, operator, retry, timeout
from petal.spec.operator import Flavour, Kind
from petal.spec.pipeline import MISSING
from petal.spec.signature import describe
from petal.spec.views import View

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Pair(NamedTuple):
    good: list[int]
    bad: list[str]


class Both(TypedDict):
    left: int
    right: str


def double_star(x: int, **rest: int) -> int:
    return x


def positional_only(x: int, /) -> int:
    return x


class NoProcess:
    def run(self, x: int) -> int:
        return x


class KeywordInProcess:
    def process(self, x: int, *, factor: int = 2) -> int:
        return x * factor


class StaticProcess:
    @staticmethod
    def process(x: int) -> int:
        return x


class ClassProcess:
    @classmethod
    def process(cls, x: int) -> int:
        return x


class PropertyProcess:
    @property
    def process(self) -> int:
        return 1


class StarInit:
    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def process(self, x: int) -> int:
        return x


class DoubleStarInit:
    def __init__(self, **parts: int) -> None:
        self.parts = parts

    def process(self, x: int) -> int:
        return x


class DoubleStarProcess:
    def process(self, x: int, **rest: int) -> int:
        return x


class PositionalOnlyProcess:
    def process(self, x: int, /) -> int:
        return x


class NoSelf:
    def process() -> int:  # type: ignore[misc]
        return 1


class Callable_:
    def __call__(self, x: int) -> int:
        return x


BAD = [
    (double_star, r"`\*\*rest`", "keyword-only"),
    (positional_only, "positional-only", "remove the `/`"),
    (NoProcess, "no `process` method", "def process"),
    (KeywordInProcess, "`factor` by keyword only", "__init__"),
    (StaticProcess, "not a plain method", "def process"),
    (ClassProcess, "not a plain method", "def process"),
    (PropertyProcess, "not a plain method", "def process"),
    (StarInit, r"`\*parts`", "name each parameter"),
    (DoubleStarInit, r"`\*\*parts`", "name the parameters"),
    (DoubleStarProcess, r"`\*\*rest`", "name the parameters"),
    (PositionalOnlyProcess, "positional-only", "remove the `/`"),
    (NoSelf, "takes no `self`", "def process"),
    (Callable_(), "is not an operator", "function or a class"),
    (functools.partial(double_star, 1), "is not an operator", "function or a class"),
    (len, "is not an operator", "function or a class"),
]


@pytest.mark.parametrize(("shape", "what", "remedy"), BAD, ids=lambda v: getattr(v, "__name__", None))
def test_a_shape_that_cannot_work_is_refused_at_decoration(shape, what, remedy):
    """S1.2: the message says what and why, the hint the remedy, with every decorator."""
    for decorate in (operator, retry, timeout(3)):
        with pytest.raises(DefinitionError, match=what) as error:
            decorate(shape)
        assert remedy in (error.value.hint or "")
    with pytest.raises(DefinitionError):
        Pipeline.of(shape)


def test_positional_arguments_are_inputs_and_keyword_only_ones_parameters():
    """S1.2: the signature says which is which; `*name` is a variadic input."""

    def op(a: int, b: str = "x", *more: Iterable[int], c: int, d: float = 0.5) -> int:
        return a

    spec = describe(op)
    assert [(i.name, i.default, i.variadic) for i in spec.inputs] == [
        ("a", MISSING, False),
        ("b", "x", False),
        ("more", MISSING, True),
    ]
    assert [(p.name, p.default) for p in spec.params] == [("c", MISSING), ("d", 0.5)]


def test_a_class_takes_parameters_in_init_and_inputs_in_process():
    """S1.2: everything in __init__ is a parameter, everything in process an input."""

    class Scale:
        def __init__(self, factor: int, *, offset: int = 0) -> None:
            self.factor, self.offset = factor, offset

        def process(self, xs: Iterable[int]) -> Iterator[int]:
            for x in xs:
                yield x * self.factor + self.offset

    spec = describe(Scale)
    assert spec.name == "Scale"
    assert spec.flavour is Flavour.CLASS
    assert [p.name for p in spec.params] == ["factor", "offset"]
    assert [i.name for i in spec.inputs] == ["xs"]

    def source() -> Iterator[int]:
        yield from range(4)

    result = (
        Pipeline.of(source, node(Scale, id="s", inputs={"xs": "source"}, factor=10, offset=1)).run().check()
    )
    assert result.outputs["s"] == [1, 11, 21, 31]


def test_a_context_may_stand_anywhere_and_be_optional():
    """S1.2: a Context is injected wherever it stands, also as `Context | None = None`, and is no input."""
    seen: dict[str, Context | None] = {}

    def first(context: Context) -> int:
        seen["first"] = context
        return 1

    def last(first: int, ctx: Context | None = None) -> int:
        seen["last"] = ctx
        return first

    def keyword(last: int, *, here: Context, factor: int = 2) -> int:
        seen["keyword"] = here
        return last * factor

    def beside_star(ctx: Context, *xs: int) -> int:
        seen["star"] = ctx
        return sum(xs)

    class Inside:
        def __init__(self, made: Context, factor: int = 3) -> None:
            seen["init"], self.factor = made, factor

        def process(self, keyword: int, called: Annotated[Context, "x"]) -> int:
            seen["process"] = called
            return keyword * self.factor

    result = (
        Pipeline.of(
            first,
            last,
            keyword,
            node(beside_star, id="star", inputs={"xs": ["first", "last"]}),
            node(Inside, id="inside"),
        )
        .run()
        .check()
    )
    assert result.outputs["inside"] == 6
    assert result.outputs["star"] == 2
    where = {
        "first": "first",
        "last": "last",
        "keyword": "keyword",
        "star": "star",
        "init": "inside",
        "process": "inside",
    }
    assert set(seen) == set(where)
    for name, context in seen.items():
        assert context is not None
        assert (context.run_id, context.node_id, context.attempt, context.cancelled) == (
            result.run_id,
            where[name],
            1,
            False,
        )
        assert context.idempotency_key
    assert last(1) == 1
    assert Context().cancelled is False


@pytest.mark.parametrize(
    ("python", "file"),
    [
        ("regex_filter", "RegexFilter"),
        ("read", "Read"),
        ("to_csv_2", "ToCsv2"),
        ("_private", "Private"),
        ("RegexFilter", "RegexFilter"),
    ],
)
def test_a_function_is_called_by_its_name_in_camel_case(python, file):
    """DESIGN 2.3: regex_filter is RegexFilter in files."""
    space: dict[str, Any] = {}
    exec(f"def {python}(): return 1", space)
    assert describe(space[python]).name == file


def test_kind_is_derived_from_the_ports():
    """S1.4: no inputs is a source, no output a sink, else a transformer."""

    def source() -> int:
        return 1

    def transform(source: int) -> int:
        return source

    def sink(transform: int) -> None:
        pass

    def lonely() -> None:
        pass

    assert [describe(f).kind for f in (source, transform, sink, lonely)] == [
        Kind.SOURCE,
        Kind.TRANSFORMER,
        Kind.SINK,
        Kind.SINK,
    ]


def test_named_fields_are_ports_of_their_own():
    """S1.5: a NamedTuple or TypedDict return adds a port per field, and `output` stays the whole."""

    def split() -> Pair:
        return Pair([1, 2], ["x"])

    def both() -> Both:
        return {"left": 1, "right": "r"}

    def count(xs: list[int]) -> int:
        return len(xs)

    def text(right: str, whole: Both) -> str:
        return right + str(whole["left"])

    assert [o.name for o in describe(split).outputs] == ["output", "good", "bad"]
    assert [o.name for o in describe(both).outputs] == ["output", "left", "right"]
    p = Pipeline.of(
        split,
        both,
        node(count, inputs={"xs": "split.good"}),
        node(text, inputs={"right": "both.right", "whole": "both"}),
    )
    outputs = p.run().check().outputs
    assert outputs["count"] == 2
    assert outputs["text"] == "r1"


def test_a_field_that_is_not_given_is_the_consumers_error():
    """S1.5: a dict without the declared field is a clear error."""

    def both() -> Both:
        return {"left": 1}  # type: ignore[typeddict-item]

    def text(right: str) -> str:
        return right

    result = Pipeline.of(both, node(text, inputs={"right": "both.right"})).run()
    assert "did not give its output port `right`" in result.nodes["text"].error.message


def test_an_annotation_that_cannot_be_resolved_is_a_warning_and_counts_as_absent():
    """S3.3: the warning names the TYPE_CHECKING import, and the pipeline runs all the same."""

    def source() -> Unknown:
        return 5

    def user(source: Unknown, *, n: Unknown = 2) -> int:
        return source * n

    p = Pipeline.of(source, user)
    found = p.validate()
    assert {d.code for d in found} == {"unresolved-annotation"}
    assert all(d.severity is Severity.WARNING for d in found)
    assert len(found) == 3
    assert all("TYPE_CHECKING" in (d.hint or "") for d in found)
    assert p.run().check().outputs["user"] == 10


def test_text_annotations_are_resolved_one_by_one():
    """S3.3: one bad annotation does not take the others with it."""

    def op(good: Iterable[int], bad: Unknown, paths: list[Path]) -> Batches[str]:
        raise NotImplementedError

    spec = describe(op)
    assert [i.seen.view for i in spec.inputs] == [View.ITEMS, View.VALUE, View.WHOLE]
    assert spec.outputs[0].seen.view is View.BATCHES
    assert len(spec.remarks) == 1


def test_one_instance_serves_one_node_and_is_closed_once():
    """S1.3: one instance per node, close() at the end, also when the node fails or its stream is cut short."""
    made: list[Counting] = []

    class Counting:
        def __init__(self, fail_at: int = -1) -> None:
            self.calls, self.closed, self.fail_at = 0, 0, fail_at
            made.append(self)

        def process(self, xs: Iterable[int]) -> Iterator[int]:
            self.calls += 1
            for x in xs:
                assert not self.closed
                if x == self.fail_at:
                    raise ValueError("bad row")
                yield x

        def close(self) -> None:
            self.closed += 1

    def source() -> Iterator[int]:
        yield from range(100)

    def first(cut: Iterable[int]) -> int:
        return next(iter(cut))

    result = Pipeline.of(
        source,
        node(Counting, id="whole", inputs={"xs": "source"}),
        node(Counting, id="fails", inputs={"xs": "source"}, fail_at=7),
        node(Counting, id="cut", inputs={"xs": "source"}),
        first,
    ).run()
    assert {n: r.status for n, r in result.nodes.items() if n != "source"} == {
        "whole": "succeeded",
        "fails": "failed",
        "cut": "succeeded",
        "first": "succeeded",
    }
    assert [(c.calls, c.closed) for c in made] == [(1, 1)] * 3
    assert result.outputs["whole"] == list(range(100))


def test_close_that_raises_is_its_own_nodes_failure():
    """S1.3: an error in close() is the failure of the node whose instance it is, and what it fed is skipped."""

    class Leaky:
        def process(self, source: Iterable[int]) -> Iterator[int]:
            yield from source

        async def close(self) -> None:
            raise RuntimeError("cannot close")

    def source() -> list[int]:
        return [1]

    def user(leaky: Iterable[int]) -> None:
        list(leaky)

    result = Pipeline.of(source, node(Leaky, id="leaky"), user).run()
    assert result.nodes["leaky"].status == "failed"
    assert result.nodes["leaky"].error.message == "RuntimeError: cannot close"
    assert result.nodes["user"].status == "skipped"


def test_an_init_that_raises_fails_the_node():
    """S1.3: a class operator whose __init__ raises has failed; there is nothing to close."""

    class Bad:
        def __init__(self) -> None:
            raise OSError("no model")

        def process(self) -> int:
            return 1

        def close(self) -> None:
            raise AssertionError

    result = Pipeline.of(node(Bad, id="bad")).run()
    assert result.nodes["bad"].error.message == "OSError: no model"


def test_coroutines_and_async_generators_are_operators_like_any_other():
    """DESIGN 2.4, S3.1: async feeds sync, sync feeds async, async feeds async."""
    import asyncio

    async def value() -> int:
        await asyncio.sleep(0.001)
        return 10

    async def source() -> AsyncIterator[int]:
        for i in range(2000):
            if i % 500 == 0:
                await asyncio.sleep(0)
            yield i

    async def shift(source: AsyncIterator[int], value: int) -> AsyncIterator[int]:
        async for x in source:
            yield x + value

    def sync(shift: Iterable[int]) -> Iterator[int]:
        for x in shift:
            yield x * 2

    async def back(sync: AsyncIterator[int]) -> list[int]:
        return [x async for x in sync]

    async def plain_iterator(sync: Iterable[int]) -> int:
        return sum(sync)

    class Async:
        async def process(self, source: Iterable[int]) -> int:
            await asyncio.sleep(0)
            return len(list(source))

    async def many(*xs: AsyncIterator[int]) -> int:
        count = 0
        for rows in xs:
            async for x in rows:
                count += x
        return count

    result = (
        Pipeline.of(
            value,
            source,
            shift,
            sync,
            back,
            plain_iterator,
            node(Async, id="cls"),
            node(many, inputs={"xs": ["source", "sync", "source"]}),
        )
        .run()
        .check()
    )
    expected = [(i + 10) * 2 for i in range(2000)]
    assert result.outputs["back"] == expected
    assert result.outputs["plain_iterator"] == sum(expected)
    assert result.outputs["cls"] == 2000
    assert result.outputs["many"] == 2 * sum(range(2000)) + sum(expected)


@pytest.mark.parametrize("failing", ["source", "shift", "back"])
def test_async_errors_are_the_nodes_own(failing):
    """S4.4: whichever coroutine raises first is the one that failed."""
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            for i in range(10_000):
                if failing == "source" and i == 5000:
                    raise ValueError("source")
                yield i
        finally:
            closed.append("source")

    async def shift(source: AsyncIterator[int]) -> AsyncIterator[int]:
        async for x in source:
            if failing == "shift" and x == 3000:
                raise ValueError("shift")
            yield x

    async def back(shift: AsyncIterator[int]) -> int:
        count = 0
        async for x in shift:
            count += 1
            if failing == "back" and x == 2000:
                raise ValueError("back")
        return count

    result = Pipeline.of(source, shift, back).run()
    assert [n for n, r in result.nodes.items() if r.status == "failed"] == [failing]
    assert result.nodes[failing].error.message == f"ValueError: {failing}"
    assert closed == ["source"]


def test_variadics_take_any_number_of_edges_in_order():
    """S2.1: a variadic input takes a list of sources, in that order, and may be empty."""

    def a() -> Iterator[int]:
        yield 1

    def b() -> list[int]:
        return [2, 3]

    def join(*lists: Iterable[int]) -> Iterator[int]:
        for rows in lists:
            yield from rows

    def count(lead: int = 7, *lists: list[int]) -> list[int]:
        return [lead, *(len(x) for x in lists)]

    result = (
        Pipeline.of(
            a,
            b,
            node(join, id="ab", inputs={"lists": ["a", "b"]}),
            node(join, id="ba", inputs={"lists": ["b", "a"]}),
            node(join, id="none"),
            node(join, id="twice", inputs={"lists": ["b", "b"]}),
            node(count, inputs={"lists": ["a", "b", "a"]}),
        )
        .run()
        .check()
    )
    assert [result.outputs[n] for n in ("ab", "ba", "none", "twice")] == [
        [1, 2, 3],
        [2, 3, 1],
        [],
        [2, 3, 2, 3],
    ]
    assert result.outputs["count"] == [7, 1, 2, 1]


@pytest.mark.parametrize("kind", ["generator", "async generator", "coroutine", "class generator"])
def test_a_sink_written_as_a_generator_runs_to_its_end(kind):
    """S1.5: `-> None` is no output, whatever makes the body lazy."""
    seen: list[int] = []

    def source() -> Iterator[int]:
        yield from range(5)

    def generator(source: Iterable[int]) -> None:
        for x in source:
            seen.append(x)
            yield

    async def async_generator(source: Iterable[int]) -> None:
        for x in source:
            seen.append(x)
            yield

    async def coroutine(source: AsyncIterator[int]) -> None:
        async for x in source:
            seen.append(x)

    class ClassGenerator:
        def process(self, source: Iterable[int]) -> None:
            for x in source:
                seen.append(x)
                yield

    sinks: dict[str, Any] = {
        "generator": generator,
        "async generator": async_generator,
        "coroutine": coroutine,
        "class generator": ClassGenerator,
    }
    result = Pipeline.of(source, node(sinks[kind], id="sink")).run().check()
    assert seen == list(range(5))
    assert "sink" not in result.outputs


def test_no_return_annotation_is_one_port_of_unknown_type():
    """S1.5, S3.3: unannotated: a generator function streams, a returned iterator is collected, a value stays."""

    def stream():
        yield 1
        yield 2

    def iterator():
        return iter([3, 4])

    def value():
        return {"k": 5}

    def takes(stream, iterator, value):
        return stream, iterator, value

    result = Pipeline.of(stream, iterator, value, takes).run(targets=["takes", "stream", "iterator"]).check()
    assert result.outputs["takes"] == ([1, 2], [3, 4], {"k": 5})
    assert result.outputs["stream"] == [1, 2]
    assert describe(stream).outputs[0].seen.view is View.ITEMS
