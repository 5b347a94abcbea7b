"""What a fresh pair of eyes stumbled over, kept from coming back."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import pytest

from petal import WRITES, Context, Pipeline, node, open_output


def numbers() -> Iterator[int]:
    yield from range(100)


def more(rows: Iterable[int]) -> Iterator[int]:
    for row in rows:
        yield row + 1


def chain(first, step, port, count):
    names = [f"n{i}" for i in range(count)]
    steps = [node(step, id=n, inputs={port: names[i - 1] if i else "first"}) for i, n in enumerate(names)]
    return Pipeline.of(first, *steps)


def test_a_long_chain_of_streaming_nodes_needs_no_deep_stack():
    """S4.1: 700 generators in a row run, though each pulls from the one before."""
    result = chain(node(numbers, id="first"), more, "rows", 700).run().check()
    assert result.outputs["n699"] == [n + 700 for n in range(100)]


def write(rows: list[str], *, path: Path, context: Context) -> None:
    with open_output(path, context) as file:
        file.write("".join(rows).encode())


def lines() -> list[str]:
    return ["one\n"]


def test_two_nodes_cannot_write_one_file(tmp_path):
    """S5.10: found while running where the parameter does not say that it names a file to write."""
    path = tmp_path / "out.txt"
    first, second = (
        node(write, id=name, inputs={"rows": "lines"}, path=path) for name in ("first", "second")
    )
    result = Pipeline.of(lines, first, second).run()
    assert [result.nodes[n].status for n in ("first", "second")] == ["succeeded", "failed"]
    assert "node `first` of this run writes it too" in str(result.nodes["second"].error)
    assert path.read_text() == "one\n"


def by_default(rows: list[str], *, path: Annotated[Path, WRITES] = Path("out.txt"), context: Context) -> None:
    write(rows, path=path, context=context)


def test_two_nodes_with_one_default_target_are_found_before_the_run():
    """S5.10: the default counts as well as what the pipeline says."""
    sinks = [node(by_default, id=name, inputs={"rows": "lines"}) for name in ("first", "second")]
    assert [f.code for f in Pipeline.of(lines, *sinks).validate()] == ["duplicate-target"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_stdout_is_written_and_never_replaced(name, tmp_path):
    """A name of stdout appends to what stdout leads to, also within a run."""
    (tmp_path / "log.txt").write_text("before\n")
    code = (
        "from petal import Pipeline, node\nimport sys\nsys.path.insert(0, sys.argv[2])\n"
        "from sink import lines, write\n"
        "Pipeline.of(lines, node(write, inputs={'rows': 'lines'}, path=sys.argv[1])).run().check()\n"
    )
    (tmp_path / "sink.py").write_text(Path(__file__).read_text())
    with open(tmp_path / "log.txt", "a") as log:
        subprocess.run(
            [sys.executable, "-c", code, name, str(tmp_path)], stdout=log, check=True, cwd=tmp_path
        )
    assert (tmp_path / "log.txt").read_text() == "before\none\n"
    assert not (tmp_path / "-").exists()


def test_a_closed_terminal_stops_the_run_in_order(tmp_path):
    """F25: SIGHUP is treated as SIGTERM is; nothing half-written is left."""
    code = (
        "import signal, time\nfrom pathlib import Path\nfrom petal import Pipeline, node, open_output, Context\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests under nohup ignores it\n"
        "def sink(*, context: Context) -> None:\n"
        "    with open_output('out.txt', context) as file:\n"
        "        file.write(b'half')\n        print('ready', flush=True)\n        time.sleep(30)\n"
        "Pipeline.of(sink).run()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGHUP)
        run.communicate(timeout=20)
    assert run.returncode == 128 + signal.SIGHUP
    assert list(tmp_path.iterdir()) == []


def test_the_caller_has_the_last_word_on_an_input():
    """S5.6: a value for an input that an edge feeds takes the edge's place, and binds nothing twice."""

    def source() -> int:
        return 1

    def add(a: int, b: int) -> int:
        return a + b

    p = Pipeline.of(source, node(add, inputs={"a": "source", "b": "source"}))
    assert p.run(params={"add.a": 10}).check().outputs["add"] == 11


def test_a_missing_folder_is_said_without_a_traceback(tmp_path):
    """An error that Petal raises on purpose shows its message and remedy, not its own frames."""
    sink = node("FileWriter", id="sink", inputs={"lines": "lines"}, file_path=tmp_path / "no" / "out.txt")
    error = Pipeline.of(lines, sink).run().nodes["sink"].error
    assert error.traceback == ""
    assert "create the folder first" in error.hint


def test_time_is_not_lost_to_deep_chains():
    """The buffers between the parts of a long chain let a slow reader stop the others early."""

    def endless() -> Iterator[int]:
        while True:
            yield 1

    def three(rows: Iterable[int]) -> list[int]:
        found = []
        for row in rows:
            found.append(row)
            if len(found) == 3:
                return found
        return found

    steps = [node(more, id=f"n{i}", inputs={"rows": f"n{i - 1}" if i else "first"}) for i in range(200)]
    p = Pipeline.of(node(endless, id="first"), *steps, node(three, inputs={"rows": "n199"}))
    assert p.run().check().outputs["three"] == [201, 201, 201]
