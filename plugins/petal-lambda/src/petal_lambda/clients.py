"""Make clients of AWS Lambda: one server call for one call, time-outs, kept connections; and say clearly what is missing."""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from petal import EnvironmentNotReady
from petal_lambda.settings import LONGEST, LambdaSettings, called, region_in

#: Seconds that a connection may take to be made.
CONNECT = 5.0
#: Seconds for which a reply is waited for beyond the function's own time-out.
MARGIN = 10.0
#: Seconds that AWS may take to say whether a function may be called.
_CHECK = 20.0
_OWN = re.compile(r"(^|\.)(amazonaws\.[a-z.]+|api\.aws)$")
_KEYS = "`aws configure` or `aws sso login` sets them up, $AWS_PROFILE chooses among several, or set $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY"


class Clients:
    """The clients of one function: one for each time that a reply is waited for.

    Args:
        settings: The settings.

    Raises:
        EnvironmentNotReady: There are no credentials, or no region.
    """

    def __init__(self, settings: LambdaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._session = _session(settings)
        self._clients: dict[float, Any] = {}
        self._renewed: list[Any] = []

    @property
    def region(self) -> str:
        """The region in which the function is."""
        return str(self._session.region_name)

    def get(self, wait: float) -> Any:
        """Return the client that waits so many seconds for a reply."""
        with self._lock:
            found = self._clients.get(wait)
            if found is None:
                found = self._clients[wait] = _client(self._session, self._settings, wait)
            return found

    def renew(self, client: Any) -> None:
        """Read the credentials anew, because AWS says that those of a client have expired; once for all who say so.

        Raises:
            EnvironmentNotReady: There are none any more.
        """
        with self._lock:
            if client not in self._clients.values():
                return
            self._session = _session(self._settings)
            self._renewed += self._clients.values()  # others may be using them still
            self._clients = {}

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            found, self._clients = [*self._clients.values(), *self._renewed], {}
            self._renewed = []
        for client in found:
            client.close()


def client_of(settings: LambdaSettings, wait: float = 60.0) -> Any:
    """Return a client of AWS Lambda that makes one server call for each call.

    Args:
        settings: The function's settings.
        wait: Seconds that a reply is waited for.

    Raises:
        EnvironmentNotReady: There are no credentials, or no region.
    """
    return _client(_session(settings), settings, wait)


def check(clients: Clients, settings: LambdaSettings) -> None:
    """See that a function is there and may be called, without running it.

    Args:
        clients: Its clients.
        settings: Its settings.

    Raises:
        EnvironmentNotReady: It is not, or AWS cannot be reached.
    """
    from petal_lambda.errors import unready

    url = clients.get(longest(settings)).meta.endpoint_url
    if not (is_aws(url) if settings.dry_run is None else settings.dry_run):
        if not is_aws(url):
            _connect(url)
        return
    try:
        clients.get(_CHECK).invoke(FunctionName=called(settings), InvocationType="DryRun")
    except Exception as error:
        found = unready(error, settings)
        if found is not None:
            raise found from error


def longest(settings: LambdaSettings) -> float:
    """Return the seconds for which the reply of a function is waited for where nothing else ends the wait."""
    return (settings.timeout or LONGEST) + MARGIN


def is_aws(url: str) -> bool:
    """Whether a URL is one of AWS itself, and not of an emulator."""
    return _OWN.search(urlsplit(url).hostname or "") is not None


def _connect(url: str) -> None:
    found = urlsplit(url)
    port = found.port or (443 if found.scheme == "https" else 80)
    try:
        socket.create_connection((found.hostname or "", port), CONNECT).close()
    except OSError as error:
        raise EnvironmentNotReady(
            f"no AWS Lambda answers at {url}: {error.strerror or error}",
            hint="`endpoint_url` (or $AWS_ENDPOINT_URL_LAMBDA, $AWS_ENDPOINT_URL) leads there: start what should be there, "
            "or leave it out for AWS itself",
            code="no-lambda",
        ) from error


def _session(settings: LambdaSettings) -> Any:
    """Return a session with credentials and a region."""
    import boto3
    from botocore.exceptions import BotoCoreError

    region = settings.region or region_in(settings.function_name)
    try:
        session = boto3.Session(region_name=region)
        if (
            session.region_name is None and "AWS_REGION" in os.environ
        ):  # which Lambda sets, and boto3 does not read
            session = boto3.Session(region_name=os.environ["AWS_REGION"])
        if session.region_name is None:
            raise EnvironmentNotReady(
                f"it is not known in which AWS region `{settings.function_name}` is",
                hint="write `region` on the node's `execution` block, or set $AWS_DEFAULT_REGION, or `region` of the profile",
                code="no-region",
            )
        found = session.get_credentials()
        if found is None:
            raise EnvironmentNotReady("there are no AWS credentials here", hint=_KEYS, code="no-credentials")
        found.get_frozen_credentials()
    except BotoCoreError as error:
        raise EnvironmentNotReady(
            f"the AWS credentials cannot be used: {error}", hint=_KEYS, code="no-credentials"
        ) from error
    return session


def _client(session: Any, settings: LambdaSettings, wait: float) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={
            "total_max_attempts": 1
        },  # Petal alone tries again: botocore would after a read time-out as well
        connect_timeout=CONNECT,
        read_timeout=wait,
        tcp_keepalive=True,
        max_pool_connections=settings.in_flight,
        # both are made anew for each call otherwise, which takes a sixth of the SDK's own time
        parameter_validation=False,
        user_agent=f"Boto3/{boto3.__version__} petal",
    )
    try:
        client = session.client("lambda", endpoint_url=settings.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise EnvironmentNotReady(
            f"AWS Lambda cannot be called in region `{session.region_name}`: {error}",
            hint="see `region` and `endpoint_url` on the node's `execution` block",
        ) from error
    client.meta.events.register("before-parse.lambda.Invoke", _keep_body)
    return client


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Keep the body of a reply that is an error: boto3 shows a part of it."""
    if response_dict["status_code"] >= 300:
        customized_response_dict["Body"] = response_dict["body"]
