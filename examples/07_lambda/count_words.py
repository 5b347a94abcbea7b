"""A function of AWS Lambda that was written by hand: nothing of Petal is in it, nor in what it is deployed with."""

import re
from collections import Counter
from typing import Any


def handler(event: dict[str, Any], context: object) -> list[dict[str, Any]]:
    """Count the words of some lines.

    Args:
        event: What Petal sends: `inputs`, a list with one entry per input; `operator_id`; `type`; `params`.
        context: What Lambda tells of the call.

    Returns:
        The output, and nothing around it.
    """
    [lines] = event["inputs"]
    words = Counter(word for line in lines for word in re.findall(r"\w+", line.lower()))
    return [{"word": word, "count": n} for word, n in words.most_common() if n >= event["params"]["least"]]
