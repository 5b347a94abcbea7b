"""What the tests of the examples share."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from petal import Pipeline
from tests.console import copy_of, environment, play, stage
from tests.services.loopback import Exchange, Loopback


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


class Functions:
    """Functions of AWS Lambda at one address, by their names: each runs on an emulator of its own.

    Args:
        emulator: Starts one: the fixture ``lambda_emulator``.
    """

    def __init__(self, emulator: Callable[..., Any]) -> None:
        self._emulator = emulator
        self._there: dict[str, Any] = {}
        self._server = Loopback(self._serve)
        self.url = self._server.url

    def deploy(self, name: str, task_root: Path, **settings: Any) -> Any:
        """Put a function under a name, and return its emulator."""
        found = self._there[name] = self._emulator(task_root, **settings)
        return found

    def close(self) -> None:
        """Take no more calls."""
        self._server.close()

    def _serve(self, exchange: Exchange) -> None:
        """Hand a call on to the function that it names."""
        named = re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", exchange.path)
        found = self._there.get(named[1]) if named is not None else None
        if found is None:
            exchange.reply(
                404, {"x-amzn-errortype": "ResourceNotFoundException"}, b'{"Message": "Function not found"}'
            )
            return
        connection = http.client.HTTPConnection(urlsplit(found.endpoint_url).netloc)
        try:
            connection.request(exchange.method, exchange.target, exchange.body, exchange.headers)
            answer = connection.getresponse()
            headers = {
                k: v for k, v in answer.getheaders() if k.lower().startswith(("x-amz", "content-type"))
            }
            exchange.reply(answer.status, headers, answer.read())
        finally:
            connection.close()
