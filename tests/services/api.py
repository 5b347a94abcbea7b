"""A thin client of the Docker Engine's HTTP interface over its socket: what the tests' own engine needs, no SDK."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

#: The reading end gives up on a call after this many seconds; an import of 200 MB takes 3.
PATIENCE = 120.0


class EngineError(Exception):
    """The engine refused a call; the text is its own."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class Api:
    """Calls of the engine that listens on a socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> bytes:
        """Call the engine and return its answer.

        Raises:
            EngineError: It refused.
            OSError: It cannot be reached.
        """
        connection = _Connection(self._path, timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise EngineError(_message(data))
        return data

    def answers(self) -> bool:
        """Return whether an engine listens and says that it is well."""
        try:
            self.call("GET", "/_ping", timeout=5)
        except (OSError, http.client.HTTPException, EngineError):
            return False
        return True

    def version(self) -> str:
        """Return the engine's version."""
        return str(json.loads(self.call("GET", "/version"))["Version"])

    def containers(self) -> list[str]:
        """Return the ids of all containers, stopped ones too."""
        return [str(c["Id"]) for c in json.loads(self.call("GET", "/containers/json?all=true"))]

    def remove_container(self, container: str) -> None:
        """Kill and remove a container with its volumes; one that is gone already is no mistake."""
        try:
            self.call("DELETE", f"/containers/{container}?force=true&v=true")
        except EngineError as error:
            if "no such container" not in str(error).lower():
                raise

    def label(self, image: str, name: str) -> str | None:
        """Return a label of an image; None when there is no such image or label."""
        try:
            found = json.loads(self.call("GET", f"/images/{image}/json"))
        except EngineError:
            return None
        return ((found.get("Config") or {}).get("Labels") or {}).get(name)

    def import_image(self, image: str, tar: Path, changes: Iterable[str]) -> None:
        """Make an image of a root file system, as ``docker import`` does."""
        repository, _, tag = image.rpartition(":")
        query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": list(changes)}
        with tar.open("rb") as file:
            self._stream("/images/create?" + urlencode(query, doseq=True), file, tar.stat().st_size)

    def load(self, tar: Path) -> None:
        """Take in images as ``docker load`` does."""
        with tar.open("rb") as file:
            self._stream("/images/load?quiet=1", file, tar.stat().st_size)

    def save(self, image: str, tar: Path) -> None:
        """Write an image as ``docker save`` does."""
        tar.write_bytes(self.call("GET", f"/images/{image}/get"))

    def prune(self, older_than: str) -> None:
        """Remove what no container uses: images without a name, and any image older than this (``168h``)."""
        for filters in ({"dangling": ["true"]}, {"dangling": ["false"], "until": [older_than]}):
            self.call("POST", "/images/prune?" + urlencode({"filters": json.dumps(filters)}))

    def _stream(self, path: str, file: IO[bytes], size: int) -> None:
        """Send a tar; what goes wrong while the engine reads it comes as a line of its answer, with status 200."""
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        answer = self.call("POST", path, file, headers)
        for line in answer.splitlines():
            if b'"error"' in line:
                raise EngineError(json.loads(line)["error"])


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip()
