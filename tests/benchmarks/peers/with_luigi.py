"""Luigi: tasks with targets, its local scheduler; values travel in memory targets or files."""

import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import hello_functions
import luigi
import shapes
from common import load, main, needs, timed
from luigi.mock import MockTarget


def _build(task: luigi.Task, workers: int = 1) -> None:
    assert luigi.build([task], local_scheduler=True, log_level="ERROR", workers=workers)


class Function(luigi.Task):
    """A function whose parameters name the functions that give them."""

    name = luigi.Parameter()
    #: The functions by name.
    functions: ClassVar[dict[str, Any]] = {}

    def requires(self) -> list[luigi.Task]:
        return [Function(name=name) for name in needs(self.functions[self.name])]

    def output(self) -> luigi.Target:
        return MockTarget(self.name)

    def run(self) -> None:
        values = []
        for target in self.input():
            with target.open() as file:
                values.append(int(file.read()))
        with self.output().open("w") as file:
            file.write(str(self.functions[self.name](*values)))


def _run(functions: list[Any]) -> int:
    Function.functions = {f.__name__: f for f in functions}
    last = Function(name=functions[-1].__name__)
    with timed("seconds"):
        _build(last)
    with last.output().open() as file:
        return int(file.read())


def hello() -> int:
    """Run three functions."""
    return _run([hello_functions.a, hello_functions.b, hello_functions.c])


def nodes(shape: str) -> int:
    """Build tasks of functions."""
    return _run(load(shape)[1])


class Log(luigi.ExternalTask):
    """The log, which is there."""

    path = luigi.Parameter()

    def output(self) -> luigi.Target:
        return luigi.LocalTarget(self.path)


class Errors(luigi.Task):
    """The log's errors."""

    source = luigi.Parameter()
    target = luigi.Parameter()

    def requires(self) -> luigi.Task:
        return Log(path=self.source)

    def output(self) -> luigi.Target:
        return luigi.LocalTarget(self.target)

    def run(self) -> None:
        match = re.compile("^ERROR").match
        with self.input().open() as lines, self.output().open("w") as file:
            for line in lines:
                if match(line):
                    file.write(line)


def filter_task(source: str, target: str) -> None:
    """Filter within one task."""
    _build(Errors(source=source, target=target))


class Numbered(luigi.Task):
    """One of several tasks."""

    kind = luigi.Parameter()
    number = luigi.IntParameter()
    folder = luigi.Parameter()

    def output(self) -> luigi.Target:
        return luigi.LocalTarget(f"{self.folder}/{self.number}")

    def run(self) -> None:
        result = getattr(shapes, self.kind)(self.number)
        with self.output().open("w") as file:
            file.write(str(result))


class Total(luigi.Task):
    """The sum of several tasks."""

    kind = luigi.Parameter()
    count = luigi.IntParameter()
    folder = luigi.Parameter()

    def requires(self) -> list[luigi.Task]:
        return [Numbered(kind=self.kind, number=i, folder=self.folder) for i in range(self.count)]

    def output(self) -> luigi.Target:
        return luigi.LocalTarget(f"{self.folder}/total")

    def run(self) -> None:
        total = sum(int(Path(target.path).read_text()) for target in self.input())
        with self.output().open("w") as file:
            file.write(str(total))


def _total(kind: str, count: int, workers: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        total = Total(kind=kind, count=count, folder=folder)
        with timed("seconds"):
            _build(total, workers)
        return int(Path(total.output().path).read_text())


def waits() -> int:
    """Wait 64 times with as many workers, which are processes."""
    return _total("wait", shapes.WAITS, shapes.WAITS)


def burns() -> int:
    """Compute 8 times with two workers."""
    return _total("burn", shapes.CPU_TASKS, 2)


if __name__ == "__main__":
    main(globals())
