"""A program that speaks plain JSON, as a user's own would: `BackendContract` runs it where a backend takes such programs.

``python -m petal.testing.echo`` reads the list of its inputs and ``$PETAL_PARAMS``; :func:`handler` is the same as a
function that is called with one payload, as AWS Lambda calls it. It imports nothing of Petal, so its file may be copied.
The parameter ``then`` says what it does: ``echo`` (the default) gives back what it got, ``prints`` writes what is not JSON,
``fails`` raises.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

#: What it writes in place of JSON.
NOT_JSON = "this is no JSON"


def reply_to(inputs: list[Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return what was given.

    Raises:
        ValueError: It was asked to fail.
    """
    if params.get("then") == "fails":
        raise ValueError("failed as it was told to")
    return {"inputs": inputs, "params": params}


def handler(event: dict[str, Any], context: Any = None) -> Any:  # noqa: ARG001
    """Answer one payload: ``{"inputs", "operator_id", "type", "params"}``; AWS's runtime sends bytes as they are."""
    reply = reply_to(event["inputs"], event["params"])
    return NOT_JSON.encode() if event["params"].get("then") == "prints" else reply


def main() -> None:
    """Answer what comes over standard input."""
    params = json.loads(os.environ["PETAL_PARAMS"])
    reply = reply_to(json.load(sys.stdin), params)
    print("echo: said beside the reply", file=sys.stderr)
    print(NOT_JSON if params.get("then") == "prints" else json.dumps(reply))


if __name__ == "__main__":
    main()
