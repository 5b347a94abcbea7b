"""An HTTP server on a free port of this machine, which may answer as badly as it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Exchange:
    """One call, wholly read, and its answer."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler
        self.method: str = handler.command
        self.target: str = handler.path
        parts = urlsplit(handler.path)
        self.path = parts.path
        self.query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        #: By name, in lower case.
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = _body(handler)

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer as one should; a body of a ``HEAD`` is left out."""
        self.begin(status, {"Content-Length": str(len(body)), **headers})
        if self.method != "HEAD":
            self.send(body)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer."""
        self._handler.send_response_only(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def send(self, data: bytes) -> None:
        """Send a piece of the body now."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def hang_up(self) -> None:
        """Send no more: the connection ends in good order, whatever was promised."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """Send no more: the connection ends as if this machine had crashed."""
        self._handler.close_connection = True
        self._handler.server.to_reset.add(self._handler.connection)


class Loopback:
    """A server that listens until it is closed; each connection has a thread of its own.

    Args:
        serve: Answers a call. What it raises ends the connection.
    """

    def __init__(self, serve: Callable[[Exchange], None]) -> None:
        self._server = _Server(serve)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="loopback"
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening, and end all connections."""
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # a closed server has no thread left
    request_queue_size = 128

    def __init__(self, serve: Callable[[Exchange], None]) -> None:
        self.serve = serve
        self.to_reset: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request in self.to_reset:
            self.to_reset.discard(request)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def end_connections(self) -> None:
        """Make the threads of all connections see their end."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits for the acknowledgement of its head
    wbufsize = -1
    server: _Server

    def handle_one_request(self) -> None:
        """Read one call and answer it."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self.server.serve(Exchange(self))
            self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Tell a caller that waits for it to send the body."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    pieces = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        pieces.append(handler.rfile.read(size))
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass  # trailers
    return b"".join(pieces)
