"""Operators about failing: one that fails by chance, and one that has another tried again."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Annotated

from msgspec import Meta

from petal import Context, UsageError, operator

#: Rows that pass at most before it fails, so that what reads them has begun.
_FEW = 10


class FailedOnPurpose(RuntimeError):
    """A failure that somebody asked for, to see what becomes of it."""


@operator(rowwise=True, columns=lambda _params, wanted: wanted)
def flaky_transformer(
    items: Iterable[object] = (),
    *,
    probability: Annotated[float, Meta(ge=0, le=1)] = 0.3,
    seed: int | None = None,
    context: Context,
) -> Iterator[object]:
    """Pass every item on unchanged, or fail on purpose, by chance.

    It is there to see what a pipeline does when something fails: whether it is tried again (`retry`), and
    whether anything of a failed attempt is left. Where it fails, it first lets a few items pass.

    Args:
        items: Rows of any type; without an input there are none.
        probability: How likely each attempt is to fail, from 0 to 1.
        seed: A number from which it follows whether each attempt of a node fails: the same in every run,
            but not the same for every attempt. Chance decides when left out.

    Raises:
        FailedOnPurpose: Chance, or the seed, says so.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - { id: flaky, type: FlakyTransformer, params: { probability: 0.5, seed: 1 }, retry: 3 }
          - { id: writer, type: FileWriter, params: { file_path: output.txt } }
        edges:
          - [reader, flaky]
          - [flaky, writer]
    """
    random = Random() if seed is None else Random(f"{seed}:{context.node_id}:{context.attempt}")
    fails, few = random.random() < probability, random.randrange(_FEW)
    for count, item in enumerate(items):
        if fails and count == few:
            break
        yield item
    if fails:
        raise FailedOnPurpose(
            f"it fails on purpose, with probability {probability:g}; attempt {context.attempt} was one of those"
        )


@operator(rowwise=False)
def retry_wrapper(
    items: Iterable[object] = (),  # noqa: ARG001
    *,
    operator: str,
    max_attempts: Annotated[int, Meta(ge=1)] = 3,
) -> Iterator[object]:
    """Stand for another operator, and have it tried again when it fails.

    The node becomes one of that operator, with `retry: {max_attempts: 3}`: its inputs, its other parameters
    and its output are those of the operator. It is another way to write `retry` on the node, where waits and
    errors to try again can be chosen as well; a node has one of the two.

    Args:
        items: What the operator takes; its inputs may be others, or several.
        operator: The type name of the operator.
        max_attempts: All attempts, the first included.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - { id: flaky, type: RetryWrapper, params: { operator: FlakyTransformer, probability: 0.5, seed: 1 } }
          - { id: writer, type: FileWriter, params: { file_path: output.txt } }
        edges:
          - [reader, flaky]
          - [flaky, writer]
    """
    raise UsageError(
        f"RetryWrapper stands for up to {max_attempts} attempts of `{operator}`, and cannot be called by itself",
        hint="call that operator, or put a node of this type into a pipeline",
    )
