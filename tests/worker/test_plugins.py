"""What a worker loads of installed plugins: what its request names, and nothing else (S6.4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A plugin that brings an operator, values of a class that no annotation describes, a codec for them, a scheme of
#: secrets, and an observer and a command that write down where they are loaded or told.
PLUGIN = """
import os
from collections.abc import Iterator
from pathlib import Path

from petal import hookimpl, operator


def note(what):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{what} {os.getpid()}\\n")


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class PointCodec:
    name = "point-1"

    def takes(self, value):
        return type(value) is Point

    def encode(self, value):
        note("encoded")
        return f"{value.x} {value.y}".encode()

    def decode(self, data):
        note("decoded")
        return Point(*map(int, bytes(data).split()))


def vault(name):
    note("resolved")
    return f"secret of {name}"


@operator
def make_point(*, x: int, y: int) -> Point:
    return Point(x, y)


@operator
def moved(point: Point, *, by: int = 0) -> Point:
    return Point(point.x + by, point.y + by)


@operator
def path_of(point: Point, *, steps: int) -> Iterator[Point]:
    for step in range(steps):
        yield Point(point.x + step, point.y)


@operator
def ends(points: Iterator[Point]) -> list[int]:
    found = list(points)
    return [found[0].x, found[-1].x, len(found)]


@operator
def told(*, token: str) -> list[str]:
    return [token.upper(), str(os.getpid())]


@hookimpl
def petal_operators():
    note("asked for operators")
    return []


@hookimpl
def petal_codecs():
    note("asked for codecs")
    return [PointCodec()]


@hookimpl
def petal_resolvers():
    note("asked for resolvers")
    return {"vault": vault}


@hookimpl
def petal_event(event):
    note("told of an event")


@hookimpl
def petal_commands():
    note("asked for commands")
    return []
"""

PIPELINE = """
{plugins}
nodes:
  - {{ id: start, type: MakePoint, params: {{ x: 1, y: 2 }}{where} }}
  - {{ id: point, type: Moved, inputs: {{ point: start }}, params: {{ by: 10 }}{where} }}
  - {{ id: points, type: PathOf, params: {{ steps: 30000 }}{where} }}
  - {{ id: ends, type: Ends{where} }}
"""


class Place:
    """A folder in which a plugin is installed and pipelines run, each run a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        packages = folder / "packages"
        info = packages / "petal_geo-1.2.dist-info"
        info.mkdir(parents=True)
        (packages / "petal_geo.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: petal-geo\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("[petal]\ngeo = petal_geo\n")
        self.environment = {**os.environ, "PYTHONPATH": str(packages), "NOTES": str(self.notes)}

    def run(self, text: str, *more: str) -> tuple[dict[str, object], str]:
        """Run a pipeline, and return its outputs and what it wrote to stderr."""
        (self.folder / "run.py").write_text(
            "import json, sys\n"
            "from petal import Pipeline, Session\n"
            "if __name__ == '__main__':\n"
            "    result = Pipeline.from_file('p.yaml', session=Session(plugins=sys.argv[1:])).run()\n"
            "    print([f'{n.error}' for n in result.nodes.values() if n.error], file=sys.stderr)\n"
            "    print(json.dumps(dict(result.outputs)) if result.status == 'succeeded' else '{}')\n"
        )
        (self.folder / "p.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "run.py", *more],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return json.loads(done.stdout or "{}"), done.stderr

    def noted(self) -> dict[str, set[str]]:
        """Return the processes in which each thing happened."""
        found: dict[str, set[str]] = {}
        for line in self.notes.read_text().splitlines():
            what, _, pid = line.rpartition(" ")
            found.setdefault(what, set()).add(pid)
        return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize(
    "where",
    [", execution: process", pytest.param(", timeout: 60s", marks=pytest.mark.slow)],
    ids=["process", "timeout"],
)
def test_values_that_a_codec_writes_cross(place, where):
    """Alone and as rows of a stream; without the codec's plugin it is found before the run that they cannot."""
    outputs, errors = place.run(PIPELINE.format(plugins="plugins: [geo]", where=where))
    assert outputs == {"ends": [11, 30_010, 30_000]}, errors
    outputs, errors = place.run(PIPELINE.format(plugins="", where=", execution: process"))
    assert outputs == {}
    assert "`start` is to run on `process`, but its output" in errors


@pytest.mark.slow
def test_what_a_codec_writes_is_cached_alone_and_as_rows(place):
    """Values and rows that only a plugin's codec writes are kept, and found by the next run."""
    text = "cache_io: true\n" + PIPELINE.format(plugins="plugins: [geo]", where="")
    first, errors = place.run(text)
    assert first == {"ends": [11, 30_010, 30_000]}, errors
    assert "encoded" in place.noted()
    place.notes.unlink()
    again, errors = place.run(text)
    assert again == first, errors
    lines = [line.split()[0] for line in place.notes.read_text().splitlines()]
    assert lines.count("encoded") == 1  # the source's, which is not cached, for the key of what follows
    assert "decoded" in lines


@pytest.mark.slow
def test_a_plugin_that_the_command_line_names_takes_part(place):
    """`-p` is as good as `plugins:`."""
    outputs, errors = place.run(PIPELINE.format(plugins="", where=", execution: process"), "geo")
    assert outputs == {"ends": [11, 30_010, 30_000]}, errors


@pytest.mark.slow
def test_a_worker_asks_no_hook_and_tells_no_observer(place):
    """Codecs work in several processes; hooks are called in the one that runs the pipeline, and nowhere else."""
    _, errors = place.run(PIPELINE.format(plugins="plugins: [geo]", where=", execution: process"))
    noted = place.noted()
    driver = noted["told of an event"]
    assert len(driver) == 1, errors
    assert len(noted["decoded"] - driver) >= 1
    assert len(noted["encoded"] - driver) >= 1
    assert {what for what, pids in noted.items() if pids - driver} == {"decoded", "encoded"}


def test_an_operator_of_a_plugin_runs_in_a_worker_without_more_of_it(place):
    """Nothing names the plugin, nothing of it but the operator is needed."""
    outputs, errors = place.run("nodes: [{ id: it, type: Told, params: { token: a }, execution: process }]")
    assert outputs["it"][0] == "A", errors
    assert "decoded" not in place.noted()


@pytest.mark.parametrize(
    "where",
    ["", ", execution: process", pytest.param(", timeout: 60s", marks=pytest.mark.slow)],
    ids=["here", "process", "timeout"],
)
def test_a_secret_is_resolved_by_a_plugin_where_it_is_used(place, where):
    """The reference travels, and the process that uses it asks the plugin's function."""
    token = '{ token: "${secret:vault/key}" }'
    outputs, errors = place.run(f"nodes: [{{ id: it, type: Told, params: {token}{where} }}]")
    said, pid = outputs["it"]
    assert said == "SECRET OF KEY", errors
    assert place.noted()["resolved"] == {pid}


@pytest.mark.slow
def test_a_scheme_that_nobody_resolves_is_an_error(place):
    """It names the reference."""
    _, errors = place.run(
        'nodes: [{ id: it, type: Told, params: { token: "${secret:safe/key}" }, execution: process }]'
    )
    assert "no plugin resolves the secret `safe/key`" in errors


def test_a_worker_that_lacks_the_plugin_says_so(place):
    """An installation that is another one there is an error of that node, which names the module."""
    from petal.data.wire import pack, unpack
    from petal.worker.execute import execute

    reference = {"module": "petal_geo", "file": None, "qualname": "PointCodec"}
    request = {
        "petal": 1,
        "operator_id": "it",
        "reference": {"module": "json", "file": None, "qualname": "dumps"},
        "plugins": {"codecs": [reference]},
    }
    reply = unpack(execute(pack(request, [])))
    assert reply.header["error"]["code"] == "worker-lacks"
    assert "petal_geo" in reply.header["error"]["message"]
