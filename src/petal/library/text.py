"""Text files: lines in, lines out (the rules of text are S3.6)."""

from collections.abc import Generator
from typing import Annotated, Any, cast

from petal import LISTS, READS, WRITES, Batches, Check, Context, DataError, RowError, operator
from petal.library.blocks import Errors, ahead, blocks, is_large, not_utf8
from petal.library.output import opened, stored_early, writable
from petal.library.paths import File, files

#: Bytes of a file's first block up to which its lines are a list: no more than Polars' import takes.
SMALL = 256 << 10


@operator
def file_reader(*, file_path: Annotated[File | list[File], READS], errors: Errors = "strict") -> Batches[str]:
    r"""Read the lines of one or several text files.

    A line ends at ``\n`` or ``\r\n``, which is not part of it; nothing else ends a line. The text is UTF-8.
    Memory is bounded by a block of a few megabytes, or by the longest line.

    Args:
        file_path: A file, a list of files, a pattern such as ``logs/*.txt`` (its matches in alphabetical
            order), or ``-`` for standard input. A file, or a pattern, may also be a URL such as
            ``s3://bucket/key``. What is compressed with gzip or zstd (``.gz``, ``.zst``) is decompressed.
        errors: What to do with bytes that are not UTF-8: ``strict`` fails and names the line, ``replace``
            puts U+FFFD in their place.

    Raises:
        DataError: A file is missing or cannot be read.
        RowError: A line is not UTF-8.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - { id: writer, type: FileWriter, params: { file_path: copy.txt } }
        edges:
          - [reader, writer]
    """
    for path in files(file_path):
        lines: Generator[Any, None, None] = _lines(path, errors)
        yield from ahead(lines) if is_large(path) else lines


@operator(effects="idempotent", rowwise=False)
def file_writer(
    lines: Annotated[Batches[str], LISTS],
    *,
    file_path: Annotated[File, WRITES, Check(writable)],
    context: Context | None = None,
) -> None:
    r"""Write each line to a text file.

    Every line ends with ``\n``; the text is written as it is, in UTF-8. The file appears under its name
    when it is complete, and is left as it was when the run fails.

    Args:
        lines: The lines; a missing one (null) becomes an empty line.
        file_path: The file, its URL such as ``s3://bucket/key``, or ``-`` for standard output; what goes to a name
            in ``.gz`` is compressed.

    Raises:
        OutputError: The file cannot be written.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - { id: writer, type: FileWriter, params: { file_path: output.txt } }
        edges:
          - [reader, writer]
    """
    with opened(file_path, context) as file:
        for batch in stored_early(lines, file):
            if isinstance(batch, list):
                file.write("".join([f"{'' if line is None else line}\n" for line in batch]).encode())
            elif len(batch):
                # One column without quotes is the text itself, and four times as fast as joining it.
                batch.to_frame().write_csv(file, include_header=False, quote_style="never", null_value="")


def _lines(path: File, errors: Errors) -> Generator[Any, None, None]:
    before = 0
    for data in blocks(path, errors, eager=True):
        lines = _few(data, path) if not before and len(data) <= SMALL else _many(data, path, before)
        before += len(lines)
        yield lines


def _few(data: bytes, path: File) -> list[str]:
    """Return the lines of a block as a list, by the same rules, without Polars."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise cast(RowError, not_utf8(data, path, 0)) from None
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _many(data: bytes, path: File, before: int) -> Any:
    import polars as pl

    if data.endswith(b"\r"):  # the last line of a file, whose lone \r belongs to it, but Polars would drop it
        data += b"\r\n"
    try:
        return pl.read_lines(data)["line"]
    except pl.exceptions.ComputeError as error:
        if found := not_utf8(data, path, before):
            raise found from None
        raise DataError(f"cannot read {str(path)!r} as text: {error}") from error
