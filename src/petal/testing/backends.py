"""The contract of backends: real pipelines whose nodes run there, compared with the same ones run here."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import Phase, given, settings

from petal.authoring.pipeline import node
from petal.errors import InvalidPipeline, NodeFailed
from petal.interfaces.backend import Capabilities
from petal.spec.event import Status
from petal.testing import tasks
from petal.testing.compare import difference
from petal.testing.echo import NOT_JSON
from petal.testing.frame_kinds import KINDS
from petal.testing.kinds import Kind
from petal.testing.large_messages import LargeMessages
from petal.testing.place import Place, Programs, here, outputs_of
from petal.testing.plugin import PROPERTY
from petal.testing.strategies import Graph, graphs
from petal.testing.subject import check, check_same, giver

#: Seconds that a task has which must be stopped.
_SHORT = 1.0
#: Random pipelines that are tried.
_GRAPHS = 15
_DAY = dt.date(2026, 3, 1)


class BackendContract(LargeMessages):
    """Tests of a backend; subclass it in a class whose name begins with ``Test``.

    ```python
    class TestDocker(BackendContract):
        backend = "docker"
        settings = {"image": "petal-worker"}
    ```

    The operators that it runs are part of :mod:`petal.testing`, so Petal must be installed where they run. What a
    backend does not claim in its capabilities is not asked of it.

    Attributes:
        backend: The backend's name, or the backend itself.
        settings: Its settings, as an ``execution`` block has them.
        left_out: Types of values that it cannot carry, by their name in the report, and why.
        program: Settings with which it runs :mod:`petal.testing.echo` as a program that speaks plain JSON; needed where its
            capabilities say that it takes such programs.
    """

    backend: ClassVar[Any] = ""
    settings: ClassVar[Mapping[str, Any]] = {}
    left_out: ClassVar[Mapping[str, str]] = {}
    program: ClassVar[Mapping[str, Any] | None] = None

    @pytest.fixture(autouse=True)
    def _in_a_folder_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    @pytest.fixture
    def place(self) -> Place:
        """The backend, in a session of its own."""
        return Place(self.backend, self.settings)

    @pytest.fixture
    def report(self, place: Place, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
        """Record a line that is shown at the end of the tests."""
        return lambda line: record_property(PROPERTY, f"{place.name:12} {line}")

    @pytest.fixture
    def elsewhere(self, place: Place) -> Place:
        """The backend, where it is another process than this one."""
        if place.is_local:
            pytest.skip("nothing leaves this process")
        return place

    @pytest.fixture
    def killer(self, place: Place) -> Place:
        """The backend, where it can stop what runs."""
        if not place.capabilities.kills:
            pytest.skip(f"`{place.name}` does not claim to stop tasks")
        return place

    @pytest.fixture
    def programs(self, place: Place) -> Programs:
        """The backend, where it takes programs that speak plain JSON."""
        if place.is_local or "json" not in place.capabilities.protocols:
            pytest.skip(f"`{place.name}` does not claim to speak plain JSON")
        check(
            self.program is not None, "it claims to speak plain JSON: say in `program` how it runs the echo"
        )
        return Programs(place, self.program or {})

    # -- what it says of itself -------------------------------------------------------------------------------

    def test_it_says_what_it_is(self, elsewhere: Place) -> None:
        """A name, capabilities as data, and a typed struct of settings with a docstring."""
        found = elsewhere.backend
        check(found.name == elsewhere.name, f"it is called `{found.name}` and not `{elsewhere.name}`")
        check(isinstance(found.capabilities, Capabilities), "its capabilities are no petal.Capabilities")
        check(issubclass(found.settings, msgspec.Struct), "its settings are no msgspec Struct")
        check(
            (found.settings.__doc__ or "").strip(), "its settings have no docstring, which users would read"
        )
        config = found.settings.__struct_config__
        check(config.forbid_unknown_fields, "its settings take misspelt keys: say forbid_unknown_fields=True")
        msgspec.convert(dict(elsewhere.settings), found.settings)

    def test_it_opens_and_closes_without_a_task(self, elsewhere: Place) -> None:
        """A run that sends nothing costs nothing; closing twice is fine."""
        found = elsewhere.backend
        opened = found.open(msgspec.convert(dict(elsewhere.settings), found.settings), None)
        check(isinstance(opened.capabilities, Capabilities), "its session says nothing of its capabilities")
        opened.close(1.0)
        opened.close(1.0)

    # -- values -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    def test_values_of_each_type_arrive_as_they_are(
        self, place: Place, kind: Kind, report: Callable[[str], None]
    ) -> None:
        """As a value, as a stream of items and as batches, the same as a local run gives."""
        if kind.name in self.left_out:
            pytest.skip(self.left_out[kind.name])
        wanted = outputs_of(here(), kind)
        wanted |= {f"value{i}": sample for i, sample in enumerate(kind.samples)}
        try:
            there = outputs_of(place, kind)
            wrong = [
                f"{form}: {d}" for form in wanted if (d := difference(there[form], wanted[form])) is not None
            ]
            check(not wrong, "\n".join(wrong))
        except Exception as error:
            report(f"{kind.name:30} FAILED: {' '.join(str(error).split())[:200]}")
            raise
        forms = [form for form in ("value", "items", "batches") if form in wanted or f"{form}0" in wanted]
        report(f"{kind.name:30} equal as {', '.join(forms)}")

    def test_parameters_defaults_and_variadic_inputs_arrive(self, place: Place) -> None:
        """Everything that an operator takes is sent."""
        result = place.run(
            node(giver(1), id="one"),
            node(giver([1, 2]), id="many"),
            place.node(tasks.adds, "plain", value="one"),
            place.node(tasks.adds, "both", value="one", other="plain"),
            place.node(tasks.totals, "lists", lists=["many", "many", "many"]),
            params={"both.more": 10},
            targets=["plain", "both", "lists"],
        ).check()
        check_same(dict(result.outputs), {"plain": 1, "both": 12, "lists": [3, 3, 3]}, "what came back")

    def test_nodes_there_and_here_feed_each_other(self, place: Place) -> None:
        """A chain whose nodes run now here, now there, as values, items and batches."""
        rows = list(range(25_000))
        result = place.run(
            node(giver(rows), id="rows"),
            place.node(tasks.doubles, "items", rows="rows"),
            node(tasks.doubles_batches, id="batches", inputs={"rows": "items"}),
            place.node(tasks.doubles_batches, "again", rows="batches"),
            node(tasks.doubles, id="last", inputs={"rows": "again"}),
        ).check()
        check_same(list(result.outputs["last"]), [16 * n for n in rows], "what came back")

    def test_twenty_tasks_at_once_do_not_get_mixed_up(self, place: Place) -> None:
        """Each reply belongs to its request."""
        numbers = range(20)
        result = place.run(
            *[node(giver(n), id=f"n{n}") for n in numbers],
            *[place.node(tasks.adds, f"a{n}", value=f"n{n}") for n in numbers],
        ).check()
        check_same([result.outputs[f"a{n}"] for n in numbers], list(numbers), "what came back")

    def test_batches_keep_their_order_with_several_in_flight(self, place: Place) -> None:
        """The first batch takes longest, and comes first all the same."""
        batch = {"batch": {"size": 5, "in_flight": 4}}
        result = place.run(
            node(giver(list(range(40))), id="rows"), place.node(tasks.upset_order, "it", batch, rows="rows")
        ).check()
        check_same(list(result.outputs["it"]), [10 * n for n in range(40)], "what came back")

    def test_any_pipeline_gives_there_what_it_gives_here(self, place: Place) -> None:
        """Random graphs, of whose nodes some run there: the rows are those that plain Python gives."""

        @settings(max_examples=_GRAPHS, deadline=None, phases=[Phase.generate])
        @given(graph=graphs())
        def holds(graph: Graph) -> None:
            result = place.run(*graph.nodes(place.node), targets=graph.ids).check()
            got = {name: list(result.outputs[name]) for name in graph.ids}
            check_same(got, graph.rows(), f"what came back of {graph}")

        holds()

    def test_the_context_tells_of_the_run(self, place: Place) -> None:
        """Node, run, attempt and pipeline are the same there as here."""
        result = place.run(
            node(giver(1), id="one"), place.node(tasks.tells_context, "it", value="one")
        ).check()
        expected = {"node": "it", "run": result.run_id, "attempt": 1, "pipeline": "contract"}
        got = {name: result.outputs["it"][name] for name in expected}
        check_same(got, expected, "what the context said")

    def test_what_an_operator_prints_harms_nothing(self, elsewhere: Place) -> None:
        """Its prints and its writes to file descriptors are no part of any message."""
        result = elsewhere.run(node(giver(7), id="given"), elsewhere.node(tasks.prints, "it", value="given"))
        check_same(result.check().outputs["it"], 7, "what came back")

    def test_a_flood_of_noise_harms_nothing(self, elsewhere: Place, caplog: pytest.LogCaptureFixture) -> None:
        """100 MB that is no text, on stdout and stderr, is no part of any message, and is not kept whole."""
        with caplog.at_level("INFO", "petal"):
            result = elsewhere.run(
                node(giver(7), id="given"), elsewhere.node(tasks.floods, "it", value="given")
            )
        check_same(result.check().outputs["it"], 7, "what came back")
        kept = sum(len(record.getMessage()) for record in caplog.records)
        check(kept < 4 << 20, f"{kept} characters of the noise were kept")

    # -- refusals ---------------------------------------------------------------------------------------------

    def test_an_untyped_value_that_json_has_not_is_refused(self, elsewhere: Place) -> None:
        """S6.1: the error names the place within the value, its type, and that an annotation is missing."""
        error = elsewhere.failure(tasks.takes_anything, [1, _DAY])
        _says(error, "value", "[1]", "date")
        error = elsewhere.failure(tasks.cannot_be_sent, 1)
        _says(error, "output", "when", "[0]", "date")

    @pytest.mark.parametrize("what", ["an ambiguous union", "a lambda", "a nested function"])
    def test_what_cannot_go_there_is_found_before_the_run(self, elsewhere: Place, what: str) -> None:
        """S6.1, S7.2: a finding with the code ``cannot-cross``; nothing ran."""

        def nested(value: int) -> int:
            return value

        nameless: Any = lambda value: value  # noqa: E731
        ran: list[int] = []

        def source():  # type: ignore[no-untyped-def]
            ran.append(1)

        operator = {"an ambiguous union": tasks.ambiguous, "a lambda": nameless}.get(what, nested)
        with pytest.raises(InvalidPipeline) as found:
            elsewhere.run(node(source, id="given"), elsewhere.node(operator, "it", value="given"))
        codes = {d.code for d in found.value.diagnostics}
        check("cannot-cross" in codes, f"{what} gives the findings {sorted(codes)}, not `cannot-cross`")
        check(not ran, "a node ran although the pipeline is invalid")

    def test_a_misspelt_setting_is_found_before_the_run(self, elsewhere: Place) -> None:
        """The key is named, as any misspelt key of a pipeline file is."""
        policies = {"execution": {"backend": elsewhere.name, **elsewhere.settings, "no_such_setting": 1}}
        with pytest.raises(InvalidPipeline, match="no_such_setting"):
            elsewhere.run(node(giver(1), id="one"), elsewhere.node(tasks.adds, "it", policies, value="one"))

    # -- errors -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("operator", [tasks.fails, tasks.fails_late], ids=lambda o: o.__name__)
    def test_an_error_there_reads_as_one_here(self, place: Place, operator: Any) -> None:
        """Message, type, kind, code and hint are those of a local run; no class of it is needed here."""
        value = 3 if operator is tasks.fails else [1, 2, 3]
        found, wanted = place.failure(operator, value), here().failure(operator, value)
        check("Unusual" in found.message, f"the error does not say `Unusual`: {found.message}")
        for name in ("message", "kind", "code", "hint", "node"):
            check_same(getattr(found, name), getattr(wanted, name), f"the {name} of the error")
        if not place.is_local:
            check(
                not isinstance(found.__cause__, tasks.Unusual), "an exception was made of data that came back"
            )

    def test_a_task_is_stopped_when_its_time_is_over(self, killer: Place) -> None:
        """The error is a time-out and names the limit."""
        error = killer.failure(tasks.sleeps, 1, policies={"timeout": _SHORT})
        check_same((error.code, str(error.kind)), ("timeout", "timeout"), "the error's code and kind")
        check("1s" in error.message, f"the error does not name the limit of 1s: {error.message}")

    def test_a_run_that_fails_fast_stops_what_runs(self, killer: Place) -> None:
        """A task that would go on for ten minutes is stopped, and called cancelled."""
        result = killer.run(
            node(giver(1), id="one"),
            killer.node(tasks.sleeps, "sleeps", value="one"),
            killer.node(tasks.fails, "fails", value="one"),
            fail_fast=True,
        )
        check_same(result.nodes["fails"].status, Status.FAILED, "the node that failed")
        check_same(result.nodes["sleeps"].status, Status.CANCELLED, "the node that was stopped")

    @pytest.mark.parametrize("operator", [tasks.dies, tasks.exits], ids=lambda o: o.__name__)
    def test_the_death_of_a_task_is_its_own(self, killer: Place, operator: Any) -> None:
        """It is an error of infrastructure, which the tasks beside it do not feel."""
        error = killer.failure(operator, 1)
        known = error.kind in ("infrastructure", "out_of_memory")
        check(known, f"the death of a task is of the kind `{error.kind}`, not of `infrastructure`")
        check(error.message.strip(), "the error says nothing")

    # -- plain JSON -------------------------------------------------------------------------------------------

    def test_a_program_gets_and_gives_plain_json(self, programs: Programs) -> None:
        """S6.3: one entry per input, in order; streams come as lists, records as dicts; parameters are free."""
        text = 'é \u2028 \U0001f33c "\\\n' * 2000
        values = [
            None,
            True,
            0,
            -(2**70),
            0.1,
            1e300,
            text,
            [],
            {},
            {"$petal": {"m": 0}},
            [[1, {"a": [None]}]],
        ]
        got = programs.run(values, {"text": text, "list": [1, None], "flag": False}).check().outputs["it"]
        expected = {
            "inputs": [values, [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}], [0, 1, 2]],
            "params": {"text": text, "list": [1, None], "flag": False},
        }
        check_same(got, expected, "what the program got")

    def test_what_plain_json_has_no_word_for_is_refused(self, programs: Programs) -> None:
        """The error names the input, the place within the value, and what to do."""
        for value, name in ((_DAY, "date"), (float("nan"), "nan"), (b"1", "bytes")):
            error = programs.failure([1, {"a": value}])
            text = f"{error.message} {error.hint or ''}"
            missing = [word for word in ("value", "[1].a", name, "hand") if word not in text]
            check(not missing, f"the error does not say {' and '.join(missing)}: {text}")

    def test_a_program_that_fails_or_does_not_write_json_is_an_error(self, programs: Programs) -> None:
        """It is the user's, and what came in place of JSON is shown."""
        error = programs.failure(1, {"then": "fails"})
        check_same(str(error.kind), "user", f"the kind of the error `{error.message}`")
        error = programs.failure(1, {"then": "prints"})
        check(NOT_JSON in error.message, f"the error does not show what the program wrote: {error.message}")

    # -- files ------------------------------------------------------------------------------------------------

    def test_a_file_appears_when_it_is_complete(self, place: Place, tmp_path: Path) -> None:
        """A sink's target is there after its success, and never before."""
        if not place.capabilities.shares_files:
            pytest.skip(f"`{place.name}` does not claim to share files")
        target = tmp_path / "out.txt"
        place.run(
            node(giver(list(range(100))), id="rows"),
            place.node(tasks.writes, "it", rows="rows"),
            params={"it.path": target},
        ).check()
        check_same(target.read_text(), "".join(f"{n}\n" for n in range(100)), "the file")
        check_same([p.name for p in tmp_path.iterdir()], ["out.txt"], "the files beside it")

    def test_a_sink_that_fails_leaves_no_file(self, place: Place, tmp_path: Path) -> None:
        """Neither its target nor a temporary one."""
        if not place.capabilities.shares_files:
            pytest.skip(f"`{place.name}` does not claim to share files")
        result = place.run(
            node(giver([1, 2, 3]), id="rows"),
            place.node(tasks.writes, "it", rows="rows"),
            params={"it.path": tmp_path / "out.txt", "it.fail_at": 3},
        )
        check(result.status is Status.FAILED, "it did not fail")
        check_same([p.name for p in tmp_path.iterdir()], [], "the files that are left")

    def test_a_sink_that_is_stopped_leaves_its_target_as_it_was(self, killer: Place, tmp_path: Path) -> None:
        """What it had written is not published."""
        target = tmp_path / "out.txt"
        result = killer.run(
            node(giver([1]), id="rows"),
            killer.node(tasks.writes_and_sleeps, "it", {"timeout": _SHORT}, rows="rows"),
            params={"it.path": target},
        )
        check(result.status is Status.FAILED, "it did not fail")
        check(not target.exists(), "a file was published although its node was stopped")


def _says(error: NodeFailed, *words: str) -> None:
    text = f"{error.message} {error.hint or ''}"
    missing = [word for word in words if word not in text]
    check(not missing, f"the error does not say {' and '.join(missing)}: {text}")
    check(re.search("annotat", text), f"the error does not say that an annotation is missing: {text}")
