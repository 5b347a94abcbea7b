"""Make cases: the command lines of Petal, of the peers' scripts and of tools, with their input and output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.cases import Case, Group
from tests.benchmarks.home import HERE, Home

PEERS = HERE / "peers"
PETAL = PEERS / "petal"
#: The addresses of input and output in pipelines of Python; those in YAML have the parameters `source` and `target`.
_ADDRESSES = {
    "items.py": ("lines.source", "write.target"),
    "diamond.py": ("lines.file_path", "writer.file_path"),
}


def python(home: Home, peer: str) -> str:
    """Return the interpreter for a peer's script. Plain Python is that of Petal's environment."""
    return str(home.python("petal" if peer == "python" else peer))


def petal(home: Home, pipeline: str) -> tuple[str, ...]:
    """Return the command that runs a pipeline."""
    return str(home.python("petal").with_name("petal")), "run", "--quiet", str(PETAL / pipeline)


def call(home: Home, key: str, name: str, peer: str, *arguments: str, **options: object) -> Case:
    """Make a case of a peer's script that says its result itself."""
    return Case(key, name, (python(home, peer), str(PEERS / f"with_{peer}.py"), *arguments), **options)


@dataclass(frozen=True)
class On:
    """Cases on one input.

    Attributes:
        home: Where everything is.
        input: The file of data.
        output: What the names of output files begin with; the case's key follows.
    """

    home: Home
    input: str
    output: str

    @property
    def source(self) -> Path:
        """The input."""
        return self.home.data / self.input

    def target(self, key: str) -> Path:
        """Return where a case writes."""
        return self.home.out / f"{self.output}.{key}"

    def group(self, key: str, title: str, cases: list[Case]) -> Group:
        """Make a group of cases on this input."""
        return Group(key, title, cases, input=self.source.stat().st_size if self.source.exists() else 0)

    def petal(self, key: str, name: str, pipeline: str) -> Case:
        """Make a case of `petal run`."""
        source, target = _ADDRESSES.get(pipeline, ("source", "target"))
        option = "--set" if "." in source else "--param"
        values = (f"{source}={self.source}", f"{target}={self.target(key)}")
        command = (*petal(self.home, pipeline), option, values[0], option, values[1])
        return Case(key, name, command, (self.target(key),))

    def peer(self, key: str, name: str, peer: str, *command: str, **options: object) -> Case:
        """Make a case of a peer's script, which takes input and output at its end."""
        script = PEERS / f"with_{'frames' if peer == 'data' else peer}.py"
        paths = (str(self.source), str(self.target(key)))
        words = (python(self.home, peer), str(script), *command, *paths)
        return Case(key, name, words, (self.target(key),), **options)

    def tool(self, key: str, name: str, *command: str, **options: object) -> Case:
        """Make a case of a command that takes its input at its end and writes to standard output."""
        target = self.target(key)
        return Case(key, name, (*command, str(self.source)), (target,), target, **options)

    def grep(self, pattern: str) -> Case:
        """Make the case of grep, in the locale in which it is fastest."""
        return self.tool("grep", "grep", "grep", pattern, environment=(("LC_ALL", "C"),))

    def shell(self, key: str, name: str, script: str, **options: object) -> Case:
        """Make a case of a script of the shell."""
        return Case(key, name, ("bash", "-c", script), (self.target(key),), **options)


def three(cases: list[Case]) -> list[Case]:
    """Say that cases write three files each, numbered from one."""
    return [replace(case, outputs=tuple(Path(f"{case.outputs[0]}.{i}") for i in (1, 2, 3))) for case in cases]
