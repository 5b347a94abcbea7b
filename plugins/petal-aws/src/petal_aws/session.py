"""Clients of AWS: one factory, with settings under which Petal alone decides what is tried again."""

from __future__ import annotations

import os
import threading
from typing import Any, Final

#: Seconds that one connection, and one wait for bytes, may take. What takes longer is tried again.
CONNECT: Final = 5
READ: Final = 30
#: Connections that are kept open to one service: as many threads can be at work without waiting for each other.
CONNECTIONS: Final = 32

_lock = threading.Lock()
#: The clients of this process, and what they were made for: another process or environment has others.
_clients: dict[tuple[str, str | None], Any] = {}
_made_for: tuple[Any, ...] = ()


def client(service: str, *, region: str | None = None) -> Any:
    """Return the client of a service, the same one for all threads of this process.

    It calls once for each call: botocore's own retries are off. Account, region and endpoint are those that boto3
    finds: ``$AWS_PROFILE``, ``$AWS_REGION`` or ``$AWS_DEFAULT_REGION``, ``$AWS_ENDPOINT_URL`` and
    ``$AWS_ENDPOINT_URL_<SERVICE>``, ``~/.aws``, the role of the machine or function. What is set in the environment is
    looked at in every call, so a change of it counts at once.

    Args:
        service: The service, as boto3 calls it: ``s3``, ``secretsmanager``.
        region: The region, where it is not the one of the environment.

    Raises:
        botocore.exceptions.BotoCoreError: No region, or a profile that is not there.
    """
    global _made_for
    here = (os.getpid(), *sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    key = (service, region)
    with _lock:
        if here != _made_for:
            _clients.clear()
            _made_for = here
        if key not in _clients:
            _clients[key] = _made(service, region)
        return _clients[key]


def renew() -> None:
    """Forget all clients: the next ones read the credentials anew, from wherever they come."""
    with _lock:
        _clients.clear()


def _made(service: str, region: str | None) -> Any:
    from boto3.session import Session  # 0.3 s, which only those pay who use AWS
    from botocore.config import Config

    # A session of its own: boto3's default one is the application's, and keeps the credentials that it has found.
    session = Session(region_name=region or os.environ.get("AWS_REGION") or None)
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT,
        read_timeout=READ,
        tcp_keepalive=True,
        max_pool_connections=CONNECTIONS,
        user_agent_extra="petal",
    )
    return session.client(service, config=config)
