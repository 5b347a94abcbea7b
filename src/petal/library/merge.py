"""Several streams become one."""

from typing import TypeVar

from petal import Batches, operator

T = TypeVar("T")


@operator(rowwise=False, columns=lambda _params, wanted: wanted)
def list_merger(*lists: Batches[T]) -> Batches[T]:
    """Put several streams or lists one after the other.

    The rows of the first edge come first, then those of the second, and so on; nothing is held in memory.

    Args:
        lists: The streams, in the order of their edges; rows of any one type.

    Example:
        nodes:
          - { id: first, type: FileReader, params: { file_path: input.txt } }
          - { id: second, type: FileReader, params: { file_path: input.txt } }
          - { id: both, type: ListMerger }
          - { id: writer, type: FileWriter, params: { file_path: merged.txt } }
        edges:
          - [first, both]
          - [second, both]
          - [both, writer]
    """
    for rows in lists:
        yield from rows
