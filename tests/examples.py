"""What the tests of the examples share."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal import Pipeline
from tests.console import copy_of, environment, play, stage


class Example:
    """A copy of an example's folder, which is the current folder while its test runs."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source = source
        self.folder = folder

    def run(self, file: str) -> dict[str, bytes]:
        """Run a pipeline file in a state without results, and return the files that it made."""
        before = self._files()
        Pipeline.from_file(file).run().check()
        made = {name: data for name, data in self._files().items() if before.get(name) != data}
        for name in made:
            (self.folder / name).unlink()
        return made

    def readme_mistakes(self, scratch: Path) -> list[str]:
        """Run the README's commands in a copy of their own."""
        readme = self.source / "README.md"
        return play(readme, stage(readme, scratch / "readme"), environment(scratch / "bin"))

    def _files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.folder.iterdir() if p.is_file()}


def example(test_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    """Copy the folder that a test file lies in, and go there."""
    source = Path(test_file).resolve().parent
    found = Example(source, copy_of(source, tmp_path / source.name))
    monkeypatch.chdir(found.folder)
    return found
