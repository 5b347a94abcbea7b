"""Ask a worker whether it has an operator, and whether its code is the one here; the operator is not called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petal.data.wire import LIMITS, Outgoing, read_header
from petal.execution.remote import RemoteCall, error_of
from petal.interfaces.backend import Capabilities, Reply
from petal.spec.context import Context


class Comparison(RemoteCall):
    """One node's operator, here and where it is to run. Called without inputs, it gives what of its code is another there.

    Raises, when it is called, what keeps the operator from being found there: a module that is missing, for one.
    """

    def _write(
        self,
        message: Outgoing,
        inputs: Mapping[str, Any],  # noqa: ARG002
        context: Context,
        where: Capabilities,
    ) -> None:
        message.write(self._header(context, where) | {"compare": True})

    def _read(self, reply: Reply, where: Capabilities) -> list[str]:  # noqa: ARG002
        header = read_header(reply.header, LIMITS)
        if header.get("status") != "ok":
            raise error_of(header.get("error") or {})
        return [str(part) for part in header.get("skew") or ()]
