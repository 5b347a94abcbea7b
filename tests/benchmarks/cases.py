"""What is measured: a section has groups, a group has cases that do the same with the same input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One way to do what the group does.

    Attributes:
        key: Its name in `results.json`; those of Petal begin with "petal".
        name: Its name in the tables.
        command: What to run; none for a case that is in the table only to say why it is not run.
        outputs: The files that it writes, compared with those of the group's reference.
        stdout: The one of them that is its standard output.
        rounds: At most so many, for what takes long.
        note: What a reader of the table should know.
        checked: Whether the value that it says is compared with the reference's.
        server: Whether it needs a server of Prefect.
        timeout: In seconds.
        environment: What it needs beside everybody's environment.
    """

    key: str
    name: str
    command: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()
    stdout: Path | None = None
    rounds: int = 1_000
    note: str = ""
    checked: bool = True
    server: bool = False
    timeout: float = 240
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Group:
    """Cases that are compared with the first of them.

    Attributes:
        key: Its name in `results.json`.
        title: Its name in the tables.
        cases: The first is what ratios refer to, and if it is Petal's, what outputs are compared with.
        unit: "s", or "µs" for each of `nodes` nodes.
        inside: Whether the process measures itself (`timed`), without its start and imports.
        nodes: The number of nodes, where the figure is for each.
        input: The size of the input, in bytes.
    """

    key: str
    title: str
    cases: list[Case]
    unit: str = "s"
    inside: bool = False
    nodes: int = 1
    input: int = 0

    @property
    def reference(self) -> Case:
        """The first case that has something to compare others with: Petal's, wherever Petal takes part."""
        return next((c for c in self.cases if c.command and c.checked), self.cases[0])


@dataclass(frozen=True)
class Section:
    """Groups that run interleaved, one table each.

    Attributes:
        more: How many times as many rounds there are, where a second decides.
        prepare: The command that makes the image, where cases run containers.
    """

    key: str
    title: str
    text: str
    groups: list[Group]
    more: int = 1
    prepare: tuple[str, ...] = ()


#: What a section gives: as in `results.json`.
Measured = dict[str, Any]
