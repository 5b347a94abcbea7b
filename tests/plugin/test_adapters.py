"""Adapters: a frame of a plugin's own is a view like any other where something names the plugin, and nowhere else (S10.1)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from petal import Batches, Pipeline, Session, hookimpl, node
from petal.errors import InvalidPipeline, NodeFailed
from petal.plugin.manager import PluginManager
from tests.cli.test_plugins import Site

PLUGIN = """
    import pyarrow as pa
    from petal import hookimpl

    class Frame:
        def __init__(self, table):
            self.table = table

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    class FrameAdapter:
        name = "petal_ours.Frame"

        def takes(self, kind):
            return kind is Frame

        def read(self, value):
            return value.table

        def make(self, rows):
            return Frame(rows.to_arrow())

    @hookimpl
    def petal_adapters():
        return [FrameAdapter()]
"""
OPERATORS = """
    import os
    from petal import operator
    from petal_ours import Frame

    @operator
    def double(rows: Frame) -> Frame:
        assert type(rows) is Frame, type(rows)
        print("in", os.getpid())
        table = rows.table
        return Frame(table.set_column(0, "n", [[2 * int(n) for n in table["n"].to_pylist()]]))
"""
CHAIN = """\
plugins: [./operators.py{plugin}]
nodes:
  - {{id: reader, type: CsvReader, params: {{file_path: in.csv}}}}
  - {{id: double, type: Double{more}}}
  - {{id: writer, type: CsvWriter, params: {{file_path: '-'}}}}
edges: [[reader, double], [double, writer]]
"""
WRITTEN = "n\n2\n4\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder with the plugin `ours` installed, and operators that take its frames."""
    found = Site(tmp_path)
    found.install("ours", PLUGIN)
    (tmp_path / "operators.py").write_text(textwrap.dedent(OPERATORS))
    (tmp_path / "in.csv").write_text("n\n1\n2\n")
    return found


def write(site: Site, *, plugin: str = "", more: str = "") -> None:
    (site.folder / "x.yaml").write_text(CHAIN.format(plugin=plugin, more=more))


class TestInstalled:
    """A really registered plugin, whose frame wraps an Arrow table."""

    @pytest.mark.parametrize("how", ["plugins:", "-p", "$PETAL_PLUGINS"])
    @pytest.mark.slow
    def test_takes_part_where_something_names_it(self, site: Site, how: str) -> None:
        """The operator gets the plugin's frame of what a reader streams, and a writer gets its rows."""
        write(site, plugin=", ours" if how == "plugins:" else "")
        asked = ("-p", "ours") if how == "-p" else ()
        ran = site.petal("run", "x.yaml", *asked, **{"PETAL_PLUGINS": "ours"} if "$" in how else {})
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.endswith(WRITTEN)

    def test_takes_no_part_where_nothing_names_it(self, site: Site) -> None:
        """The class is one value then, which a stream does not feed: a finding, before anything runs."""
        write(site)
        ran = site.petal("validate", "x.yaml")
        assert ran.returncode == 3
        assert "it gives a stream of dict[str, Any], but `rows` takes one Frame" in ran.stdout

    @pytest.mark.slow
    def test_goes_with_its_nodes_to_a_worker_process(self, site: Site) -> None:
        """A node with a time-out runs in a worker, which makes an adapter of its own for what goes in and comes out."""
        write(site, plugin=", ours", more=", timeout: 60s")
        ran = site.petal("run", "x.yaml")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == WRITTEN

    def test_goes_to_a_backend(self, site: Site) -> None:
        """A node on a backend is sent its frame, and its frame comes back."""
        write(site, plugin=", ours", more=", execution: {backend: process}")
        ran = site.petal("run", "x.yaml")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == WRITTEN

    def test_is_listed_with_what_it_brings(self, site: Site) -> None:
        """`petal plugins` names its adapter."""
        assert "petal_ours.Frame" in site.petal("plugins", "--json").stdout


class Opaque:
    """A frame that nobody can read but its adapter: a record by its looks, which is never taken apart."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns


class OpaqueAdapter:
    """Brings `Opaque`."""

    name = "tests.Opaque"

    def takes(self, kind: type) -> bool:
        return kind is Opaque

    def read(self, value: Opaque) -> Any:
        return pa.table(value.columns).to_reader(max_chunksize=1)

    def make(self, rows: Any) -> Opaque:
        return Opaque(rows.to_dict(as_series=False))


class Brings:
    """A plugin of it."""

    @hookimpl
    def petal_adapters(self) -> list[Any]:
        return [OpaqueAdapter()]


def words():  # type: ignore[no-untyped-def]
    yield from ("one", "two")


def rows() -> Iterator[dict[str, Any]]:
    yield from ({"n": 1}, {"n": 2})


def untyped():  # type: ignore[no-untyped-def]
    return Opaque({"n": [1, 2]})


def made() -> Opaque:
    return Opaque({"n": [1, 2]})


def counted(rows: Batches[dict[str, Any]]) -> list[int]:
    return [len(batch) for batch in rows]


def kept(rows: Opaque | None) -> Opaque | None:
    return rows


def session(*plugins: Any) -> Session:
    found = Session()
    for plugin in plugins:
        found.register(plugin)
    return found


def seen(*operators: Any, plugin: Any = Brings) -> Any:
    """Run a source into a consumer, and return what that gave."""
    source, consumer = operators
    nodes = node(source, id="source"), node(consumer, id="consumer", inputs={"rows": "source"})
    pipeline = Pipeline.of(*nodes, session=session(plugin))
    return pipeline.run(targets=["consumer"]).check().outputs["consumer"]


@pytest.mark.parametrize("source", [made, untyped])
def test_what_it_reads_arrives_a_part_at_a_time(source: Any) -> None:
    """A reader of Arrow is pulled batch by batch, whether the producer is annotated or not."""
    assert seen(source, counted) == [1, 1]


def test_an_object_that_is_one_already_is_handed_on() -> None:
    """Nothing is copied between nodes that give and take the class, an optional one included."""
    given = Opaque({"n": [1]})

    def source() -> Opaque:
        return given

    assert seen(source, kept) is given


def test_single_values_are_a_column() -> None:
    """A stream of no declared type that turns out to be text becomes a frame of one column, as it does for every other frame."""
    assert seen(words, kept).columns == {"value": ["one", "two"]}


def test_other_sessions_of_the_process_do_not_know_it() -> None:
    """In a session that the plugin is not named in, the class is a value like any other, also after it was a view."""
    assert seen(rows, kept).columns == {"n": [1, 2]}
    nodes = node(rows, id="source"), node(kept, id="consumer", inputs={"rows": "source"})
    with pytest.raises(InvalidPipeline, match="takes one Opaque"):
        Pipeline.of(*nodes, session=Session()).plan()


def test_an_override_is_made_one() -> None:
    """Rows that are given instead of running a node are seen in the node's own view."""
    nodes = node(made, id="source"), node(kept, id="consumer", inputs={"rows": "source"})
    pipeline = Pipeline.of(*nodes, session=session(Brings))
    result = pipeline.run(overrides={"source": [{"n": 7}]}).check()
    assert result.outputs["consumer"].columns == {"n": [7]}


def test_values_that_no_column_holds_are_found_before_the_run() -> None:
    """As for every other frame, what cannot be a column is a finding."""

    def source() -> Iterator[complex]:
        yield 1j

    nodes = node(source, id="source"), node(kept, id="consumer", inputs={"rows": "source"})
    with pytest.raises(InvalidPipeline, match="takes a Opaque, and no batch can hold complex"):
        Pipeline.of(*nodes, session=session(Brings)).plan()


def test_one_that_fails_fails_its_node() -> None:
    """What an adapter raises is the node's failure, and names the adapter."""

    class Fails(OpaqueAdapter):
        def read(self, value: Opaque) -> Any:
            raise KeyError("n")

    class BringsIt:
        @hookimpl
        def petal_adapters(self) -> list[Any]:
            return [Fails()]

    with pytest.raises(NodeFailed, match=r"adapter `tests\.Opaque` cannot read one Opaque: KeyError: 'n'"):
        seen(made, counted, plugin=BringsIt)


@pytest.mark.parametrize(
    ("name", "lacks", "reason"),
    [
        ("Opaque", "", "its adapter is named `Opaque`"),
        ("pandas.DataFrame", "", "its adapter is named `pandas.DataFrame`"),
        ("tests.Opaque", "make", "its adapter `tests.Opaque` has no `make`"),
    ],
)
def test_one_that_cannot_be_one_is_left_out_with_a_warning(name: str, lacks: str, reason: str) -> None:
    """An adapter without a part, or with a name that Petal has, takes no part; the plugin's other hooks do."""
    parts = {part: getattr(OpaqueAdapter(), part) for part in ("takes", "read", "make") if part != lacks}
    adapter = type("Adapter", (), {"name": name, **{k: staticmethod(v) for k, v in parts.items()}})()

    class BringsIt:
        @hookimpl
        def petal_adapters(self) -> list[Any]:
            return [adapter]

    manager = PluginManager()
    manager.register(BringsIt)
    assert manager.adapters() == ()
    (warning,) = manager.warnings
    assert reason in warning


def test_one_that_takes_everything_is_left_out_with_a_warning() -> None:
    """An adapter that says yes to `object` would make a frame of every value."""
    greedy = type("Greedy", (OpaqueAdapter,), {"takes": lambda self, kind: True})
    manager = PluginManager()
    manager.register(type("BringsIt", (), {"petal_adapters": hookimpl(lambda self: [greedy()])}))
    assert manager.adapters() == ()
    assert "its adapter `tests.Opaque` takes every object" in manager.warnings[0]


def test_one_that_fails_at_planning_is_a_finding() -> None:
    """What `takes` raises is a finding at the node whose class it was asked about, and no traceback."""

    class Fails(OpaqueAdapter):
        def takes(self, kind: type) -> bool:
            if kind is Opaque:
                raise LookupError("no table")
            return False

    brings = type("BringsIt", (), {"petal_adapters": hookimpl(lambda self: [Fails()])})
    (finding,) = Pipeline.of(made, session=session(brings)).validate()
    assert finding.code == "broken-plugin"
    assert finding.message.endswith("what `Made` is annotated with: LookupError: no table")


def test_the_first_of_two_for_one_class_wins() -> None:
    """A second adapter of the same name is a warning that names both plugins."""
    manager = PluginManager()
    manager.register(Brings, "first")
    manager.register(type("Second", (Brings,), {}), "second")
    assert len(manager.adapters()) == 1
    assert manager.warnings == [
        "plugin `second` brings adapter `tests.Opaque`, which plugin `first` has already"
    ]


def test_one_that_no_worker_can_make_is_found_before_the_run() -> None:
    """A worker makes an adapter of its class, so the class has to be found there by its name."""

    class Inside(OpaqueAdapter):
        pass

    class BringsIt:
        @hookimpl
        def petal_adapters(self) -> list[Any]:
            return [Inside()]

    nodes = (
        node(rows, id="source"),
        node(kept, id="consumer", inputs={"rows": "source"}, policies={"timeout": 60}),
    )
    with pytest.raises(
        InvalidPipeline, match=r"its adapter `tests\.Opaque` cannot be made there: `Inside` is"
    ):
        Pipeline.of(*nodes, session=session(BringsIt)).plan()
