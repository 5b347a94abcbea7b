"""Trace context by the W3C's recommendation: which trace a run belongs to, and which span of it an attempt is.

See <https://www.w3.org/TR/trace-context/>. An operator that makes requests of its own hands the two texts on as headers;
Petal hands them on to workers and programs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import blake2b

#: Version, trace, parent and flags; a later version may have more behind it.
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_SAMPLED = "01"


def new_span(run: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Begin a span: of the trace that the environment names, else of the run's own.

    The run's own trace is made of its id, so that every process that works for the run finds the same one, and a run that
    is resumed goes on with it.

    Args:
        run: The run's id, or "" outside one, where each call begins a trace of its own.
        environment: Where ``TRACEPARENT`` and ``TRACESTATE`` are looked up.

    Returns:
        ``traceparent`` and, where the environment has one, ``tracestate``.
    """
    span = os.urandom(8).hex()
    given = environment.get("TRACEPARENT", "").strip()
    found = _PARENT.fullmatch(given)
    if found is None or (found[1] == "00" and found[4]):
        trace = blake2b(run.encode(), digest_size=16).hexdigest() if run else os.urandom(16).hex()
        return {"traceparent": f"00-{trace}-{span}-{_SAMPLED}"}
    made = {"traceparent": f"00-{found[2]}-{span}-{found[3]}"}
    state = environment.get("TRACESTATE", "").strip()
    return made | {"tracestate": state} if state else made
