"""Nodes in worker processes: the backend `process`, time-outs that stop work, and what is refused before a run."""

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest

from petal import InvalidPipeline, Pipeline, Status
from petal.errors import TimedOut

OPERATORS = """
import ctypes, datetime as dt, logging, os, signal, sys, time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import polars as pl
from petal import Batches, Context, open_output, operator

@operator
def numbers(*, count: int = 10) -> Iterator[int]:
    yield from range(count)

@operator(rowwise=True)
def doubled(numbers: Iterator[int]) -> Iterator[int]:
    for n in numbers:
        yield 2 * n

@operator
def pid() -> int:
    return os.getpid()

@operator
def total(doubled: Iterator[int]) -> int:
    return sum(doubled)

@dataclass
class Person:
    name: str
    born: dt.date

@operator
def person() -> Person:
    return Person("Ada", dt.date(1815, 12, 10))

@operator
def age(person: Person, *, today: dt.date) -> int:
    return today.year - person.born.year

@operator
def fails(numbers: list[int]) -> int:
    raise ValueError(f"{len(numbers)} are too many")

@operator
def dies(numbers: list[int]) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0

@operator
def exits(numbers: list[int]) -> int:
    os._exit(7)

@operator
def hangs() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).sleep(60)
    return 0

@operator
def sleeps() -> int:
    time.sleep(60)
    return 0

@operator
def talks(context: Context) -> int:
    print("printed")
    os.system("echo by a child")
    context.log.info("logged")
    return 1

@operator
def frame(*, rows: int = 3) -> pl.DataFrame:
    return pl.DataFrame({"n": range(rows)})

@operator
def tripled(frame: Batches[dict]) -> Batches[dict]:
    for batch in frame:
        yield batch.with_columns(n=pl.col("n") * 3)

@operator
def written(numbers: Iterator[int], *, file_path: Path, fail: bool = False, context: Context) -> None:
    with open_output(file_path, context) as file:
        for n in numbers:
            file.write(f"{n}\\n".encode())
    if fail:
        raise RuntimeError("after all was written")

@operator
class Elsewhere:
    def __init__(self, *, factor: int = 2) -> None:
        self.factor = factor

    def process(self, numbers: list[int]) -> list[int]:
        return [self.factor * n for n in numbers]

    def execute_remote(self, inputs, execution) -> list[int]:
        return [self.factor * n + execution["workers"] for n in inputs["numbers"]]

@operator
def slow(numbers: Iterator[int], *, seconds: float = 0.05) -> Iterator[int]:
    for n in numbers:
        time.sleep(seconds)
        yield n

@operator
def gives_a_function(numbers: list[int]) -> Callable[[int], int]:
    return abs

@operator
def untyped(numbers):
    return {"sum": sum(numbers), "when": dt.datetime(2026, 1, 1)}
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "ops.py").write_text(OPERATORS)

    def run(text: str, **more):
        file = tmp_path / "p.yaml"
        file.write_text("plugins: [./ops.py]\n" + textwrap.dedent(text))
        return Pipeline.from_file(file).run(**more)

    return run


def test_a_node_runs_in_another_process_and_gives_what_it_would_here(run):
    """Only the `execution` line differs, and the result is the same."""
    text = """
    nodes:
      - {{ id: numbers, type: Numbers, params: {{ count: 25000 }} }}
      - {{ id: doubled, type: Doubled{where} }}
      - {{ id: total, type: Total }}
      - {{ id: pid, type: Pid{where} }}
    """
    here = run(text.format(where="")).check()
    there = run(text.format(where=", execution: { backend: process }")).check()
    assert there.outputs["total"] == here.outputs["total"] == 25_000 * 24_999
    assert here.outputs["pid"] == os.getpid() != there.outputs["pid"]
    assert there.nodes["doubled"].backend == "process"
    assert there.nodes["doubled"].rows == 25_000


def test_values_cross_by_their_annotations(run):
    """A dataclass with a date goes there and comes back as what it was."""
    result = run("""
    nodes:
      - { id: person, type: person, execution: process }
      - { id: age, type: age, execution: process, params: { today: 2026-11-23 } }
      - { id: frame, type: frame, execution: process, params: { rows: 5 } }
      - { id: tripled, type: tripled, execution: process }
    """)
    result.check()
    assert result.outputs["age"] == 211
    assert result.outputs["tripled"]["n"].to_list() == [0, 3, 6, 9, 12]


def test_batches_run_in_several_processes_in_order(run):
    """`batch` with `in_flight: 3` spreads calls over workers, and the rows keep their order."""
    result = run("""
    nodes:
      - { id: numbers, type: numbers, params: { count: 1000 } }
      - { id: doubled, type: doubled, execution: process, batch: { size: 50, in_flight: 3 } }
    """).check()
    assert result.outputs["doubled"] == [2 * n for n in range(1000)]


def test_an_error_comes_back_with_its_traceback(run):
    """What a node raises in a worker is shown as here: type, message and the user's own frames."""
    result = run("""
    nodes:
      - { id: numbers, type: numbers }
      - { id: fails, type: fails, execution: process }
    """)
    error = result.nodes["fails"].error
    assert error.message == "ValueError: 10 are too many"
    assert error.kind == "user"
    assert "in fails" in error.traceback
    assert "raise ValueError" in error.traceback
    assert "petal/worker" not in error.traceback


@pytest.mark.parametrize(
    ("node", "message"), [("dies", "killed by SIGKILL (9)"), ("exits", "exited with code 7")]
)
def test_a_death_fails_its_own_node_alone(run, node, message):
    """A worker that dies takes nobody with it, and the message says how it died."""
    result = run(f"""
    nodes:
      - {{ id: numbers, type: numbers }}
      - {{ id: gone, type: {node}, execution: process }}
      - {{ id: doubled, type: doubled, execution: process }}
    """)
    assert result.nodes["gone"].status in (Status.FAILED, Status.UNKNOWN)
    assert message in result.nodes["gone"].error.message
    assert result.nodes["gone"].error.kind == "infrastructure"
    assert result.nodes["doubled"].status == "succeeded"


def test_a_timeout_stops_what_ignores_sigterm(run):
    """A sleep in C that ignores SIGTERM is over soon after its 1 s; the plan has moved it into a worker."""
    began = time.monotonic()
    result = run("""
    nodes:
      - { id: hangs, type: hangs, timeout: 1s }
    """)
    error = result.nodes["hangs"].error
    assert (error.code, error.kind) == ("timeout", "timeout")
    assert "1s" in error.message
    assert result.nodes["hangs"].backend == "process"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("timeout", ["1ms", "3ms", "10ms"])
@pytest.mark.parametrize(
    "more", ["", ", retry: { max_attempts: 2, delay: 0 }", ", batch: 1, inputs: { numbers: numbers }"]
)
def test_a_time_that_is_over_before_a_worker_is_there_is_a_clean_failure(run, timeout, more):
    """However short the time is: the node fails with `timeout`, in its result and in its run's record."""
    told = []
    kind = "slow" if "batch" in more else "sleeps"
    result = run(
        f"""
    nodes:
      - {{ id: numbers, type: numbers }}
      - {{ id: late, type: {kind}, timeout: {timeout}{more} }}
    """,
        on_event=told.append,
    )
    error = result.nodes["late"].error
    assert (result.nodes["late"].status, error.code, error.kind) == ("failed", "timeout", "timeout")
    assert f"took longer than its timeout of {timeout}, and was stopped" in error.message
    assert [(e.status, e.kind) for e in told if type(e).__name__ == "NodeFinished" and e.node == "late"] == [
        ("failed", "timeout")
    ]


def test_a_stage_with_a_timeout_moves_as_one_and_publishes_its_file(run, tmp_path):
    """`defaults: {timeout: …}` keeps a stage streaming in one worker, and its file appears when it is complete."""
    events = []
    result = run(
        """
    defaults: { timeout: 5m }
    nodes:
      - { id: numbers, type: numbers, params: { count: 30000 } }
      - { id: doubled, type: doubled }
      - { id: written, type: written, params: { file_path: out.txt } }
    edges: [[doubled, written.numbers]]
    """,
        on_event=events.append,
    ).check()
    assert (tmp_path / "out.txt").read_text().splitlines() == [str(2 * n) for n in range(30_000)]
    assert {n.backend for n in result.nodes.values()} == {"process"}
    assert result.nodes["doubled"].rows == 30_000
    finished = [e for e in events if type(e).__name__ == "NodeFinished"]
    assert sorted(e.node for e in finished) == ["doubled", "numbers", "written"]
    assert {e.run for e in finished} == {result.run_id}


def test_a_stage_that_takes_too_long_leaves_nothing(run, tmp_path):
    """The member whose time is over fails, the others do not succeed, and no file or temporary is left."""
    result = run("""
    nodes:
      - { id: numbers, type: numbers, params: { count: 1000 } }
      - { id: slow, type: slow, timeout: 1s }
      - { id: written, type: written, params: { file_path: out.txt } }
    edges: [[slow, written.numbers]]
    """)
    assert result.nodes["slow"].status == "failed"
    assert result.nodes["slow"].error.code == "timeout"
    assert result.nodes["written"].status == "unknown"  # it may not run twice, and had begun
    left = {p.name for p in tmp_path.iterdir() if not p.name.startswith("__")}
    assert left == {"ops.py", "p.yaml", ".petal"}


def test_a_sink_in_a_worker_is_published_by_the_run(run, tmp_path):
    """A sink that runs in a worker writes its file, relative to the pipeline's folder, and the run publishes it."""
    run("""
    nodes:
      - { id: numbers, type: numbers }
      - { id: written, type: written, execution: process, params: { file_path: out.txt } }
    """).check()
    assert (tmp_path / "out.txt").read_text().split() == [str(n) for n in range(10)]
    assert not list(tmp_path.glob(".*petal*tmp"))


def test_a_sink_that_fails_in_a_worker_publishes_nothing(run, tmp_path):
    """What a sink wrote before it raised is dropped, and its target is as it was."""
    (tmp_path / "out.txt").write_text("old")
    result = run("""
    nodes:
      - { id: numbers, type: numbers }
      - { id: written, type: written, execution: process, params: { file_path: out.txt, fail: true } }
    """)
    assert result.nodes["written"].error.message == "RuntimeError: after all was written"
    assert (tmp_path / "out.txt").read_text() == "old"
    assert not list(tmp_path.glob(".*petal*tmp"))


def test_prints_and_logs_of_a_worker_are_the_nodes(run, caplog):
    """What a node prints, also through a child, and what it logs, is logged for the node."""
    with caplog.at_level("INFO", "petal.node"):
        run("""
        nodes:
          - { id: talks, type: talks, execution: process }
        """).check()
    told = [(r.getMessage(), getattr(r, "node", None)) for r in caplog.records if r.name == "petal.node"]
    assert ("printed", "talks") in told
    assert ("by a child", "talks") in told
    assert ("logged", "talks") in told


@pytest.mark.parametrize("policy", ["execution: process", "timeout: 5s"])
def test_what_cannot_go_there_is_found_before_the_run(tmp_path, policy):
    """A lambda or nested function, and an annotation that cannot be read back, are findings of the plan."""
    from petal import node

    policies = {"execution": {"backend": "process"}} if "exec" in policy else {"timeout": 5}
    with pytest.raises(InvalidPipeline, match="a lambda has no name") as caught:
        Pipeline.of(node(lambda: 1, id="nameless", policies=policies)).run()
    assert [d.code for d in caught.value.diagnostics] == ["cannot-cross"]


def test_a_callable_cannot_cross(run):
    """An output whose type says nothing about how to read it back is refused before the run."""
    with pytest.raises(InvalidPipeline) as caught:
        run("""
        nodes:
          - { id: numbers, type: numbers }
          - { id: n, type: gives_a_function, execution: process }
        """)
    assert {d.code for d in caught.value.diagnostics} == {"cannot-cross"}


def test_an_untyped_value_that_is_not_plain_is_an_error_that_names_it(run):
    """S6.1: of an output without annotation only plain values cross; the error names path and annotation."""
    result = run("""
    nodes:
      - { id: numbers, type: numbers }
      - { id: untyped, type: untyped, execution: process }
    """)
    error = result.nodes["untyped"].error
    assert "when" in error.message
    assert "datetime" in error.message


def test_run_timeout_stops_the_run(run):
    """A run that takes longer fails with the code `timeout`, and says what may still run."""
    began = time.monotonic()
    result = run("""
    run_timeout: 1s
    nodes:
      - { id: numbers, type: numbers, params: { count: 100000 } }
      - { id: slow, type: slow }
    """)
    assert result.status == "failed"
    assert isinstance(result.error, TimedOut)
    assert result.nodes["slow"].status == "cancelled"
    assert time.monotonic() - began < 30
    with pytest.raises(TimedOut, match="run_timeout of 1s"):
        result.check()


def test_no_worker_is_left(run):
    """When a run is over, its workers are gone."""
    result = run("""
    nodes:
      - { id: pid, type: pid, execution: process }
    """).check()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{result.outputs['pid']}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(result.outputs["pid"], signal.SIGCONT)


@pytest.mark.parametrize("where", ["execution: process", "timeout: 1m"])
@pytest.mark.parametrize("files", ["a.txt", "[a.txt, b.txt]"])
def test_the_library_runs_in_a_worker(run, tmp_path, where, files):
    """A reader of one file or several, a filter and a writer give in a worker what they give here."""
    (tmp_path / "a.txt").write_text("ERROR 1\nfine\n")
    (tmp_path / "b.txt").write_text("fine\nERROR 2\n")
    run(f"""
    nodes:
      - {{ id: reader, type: FileReader, params: {{ file_path: {files} }}, {where} }}
      - {{ id: filter, type: RegexFilter, params: {{ pattern: '^ERROR' }}, {where} }}
      - {{ id: writer, type: FileWriter, params: {{ file_path: out.txt }}, {where} }}
    edges: [[reader, filter], [filter, writer]]
    """).check()
    assert (tmp_path / "out.txt").read_text() == "ERROR 1\n" + ("ERROR 2\n" if "b.txt" in files else "")


def test_a_standard_stream_stays_with_the_run(run):
    """A node with a time-out that reads standard input is refused, for a worker has none."""
    with pytest.raises(InvalidPipeline, match="standard input, which belongs to the process of the run"):
        run("""
        nodes:
          - { id: reader, type: FileReader, params: { file_path: '-' }, timeout: 1m }
        """)


def test_an_operator_may_take_care_of_its_remote_execution_itself(run):
    """A class with `execute_remote` is called here, with its inputs and the `execution` block, in place of being sent."""
    text = """
    nodes:
      - {{ id: numbers, type: numbers, params: {{ count: 3 }} }}
      - {{ id: there, type: Elsewhere, params: {{ factor: 10 }}{where} }}
    """
    assert run(text.format(where="")).check().outputs["there"] == [0, 10, 20]
    where = ", execution: { backend: process, workers: 7 }"
    assert run(text.format(where=where)).check().outputs["there"] == [7, 17, 27]
