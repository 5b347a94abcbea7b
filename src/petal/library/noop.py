"""Operators that do nothing: the ends of a pipeline that only proves that it can be built and run."""

from collections import deque
from collections.abc import Iterable, Iterator

from petal import operator


@operator
def empty_source() -> list[object]:
    """Give an empty list.

    Example:
        nodes:
          - { id: source, type: EmptySource }
          - { id: sink, type: NoOpSink }
        edges:
          - [source, sink]
    """
    return []


@operator(name="NoOpTransformer", rowwise=True, columns=lambda _params, wanted: wanted)
def noop_transformer(items: Iterable[object]) -> Iterator[object]:
    """Pass every item on unchanged.

    Args:
        items: Rows of any type.

    Example:
        nodes:
          - { id: source, type: EmptySource }
          - { id: same, type: NoOpTransformer }
          - { id: sink, type: NoOpSink }
        edges:
          - [source, same]
          - [same, sink]
    """
    yield from items


@operator(name="NoOpSink", effects="idempotent", rowwise=False)
def noop_sink(items: Iterable[object]) -> None:
    """Take every item and drop it.

    Args:
        items: Rows of any type; the stream is read to its end.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - { id: sink, type: NoOpSink }
        edges:
          - [reader, sink]
    """
    deque(items, maxlen=0)
