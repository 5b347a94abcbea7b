"""Find messages that say nearly the same: three operators that compute, each where it belongs."""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import TypedDict

from minhash import likeness, signature

from petal import batch, operator, remote


class Signed(TypedDict):
    """A message and its signature."""

    text: str
    signature: list[int]


class Grouped(TypedDict):
    """A message, and the number of the group that it belongs to."""

    group: int
    message: str


class Pair(TypedDict):
    """Two messages, and how alike they are, from 0 to 1."""

    likeness: float
    one: str
    other: str


@remote(backend="docker", image="petal-example/hybrid", mem_limit="256m")
@batch(size=4, in_flight=2)
@operator(rowwise=True)
def sign(reader: Iterable[str]) -> Iterator[Signed]:
    """Give each message with its signature."""
    for text in reader:
        yield Signed(text=text, signature=signature(text))


@remote(backend="aws_lambda", function_name="petal-near-duplicates", region="us-east-1")
@operator
def pairs(sign: list[Signed], *, least: float = 0.5) -> list[Pair]:
    """Compare every message with every other, and give the pairs that are alike, the most alike first.

    Args:
        sign: The messages with their signatures.
        least: How alike the two of a pair must be.
    """
    found = [
        Pair(
            likeness=round(likeness(one["signature"], other["signature"]), 2),
            one=one["text"],
            other=other["text"],
        )
        for one, other in combinations(sign, 2)
    ]
    return sorted((pair for pair in found if pair["likeness"] >= least), key=lambda pair: -pair["likeness"])


@remote(backend="process")
@operator
def groups(pairs: list[Pair]) -> list[Grouped]:
    """Put messages into one group that a chain of pairs connects, the largest group first."""
    leader: dict[str, str] = {}

    def find(message: str) -> str:
        while (above := leader.setdefault(message, message)) != message:
            message = above
        return message

    for pair in pairs:
        leader[find(pair["other"])] = find(pair["one"])
    found: dict[str, list[str]] = {}
    for message in leader:
        found.setdefault(find(message), []).append(message)
    largest = sorted(found.values(), key=lambda group: (-len(group), group))
    return [Grouped(group=i, message=text) for i, group in enumerate(largest, 1) for text in sorted(group)]
