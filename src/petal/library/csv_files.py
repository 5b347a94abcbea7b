"""CSV files: records in, records out."""

import csv
import io
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Annotated, Any, NamedTuple

import polars as pl

from petal import READS, WRITES, Batches, Check, Context, DataError, RowError, operator
from petal.library.blocks import Errors, LinesBefore, ahead, blocks, is_large, not_utf8
from petal.library.hints import hinted
from petal.library.names import first_line, need_columns
from petal.library.output import opened, same_columns, stored_early, writable
from petal.library.paths import File, files
from petal.library.types import TypeName, column_types, type_name

_MISFIT = re.compile(
    r"could not parse `(.*)` as dtype `(\w+).*` at column '(.*)' \(column number (\d+)\)", re.DOTALL
)


def _one_byte(text: str) -> None:
    if len(text.encode()) != 1 or text in '\r\n"':
        raise ValueError(f"{text!r} cannot separate fields: give one ASCII character, such as ',' or ';'")


def _no_byte_or_one(text: str) -> None:
    if len(text.encode()) > 1:
        raise ValueError(f"{text!r} cannot quote fields: give one ASCII character, or '' for none")


def _each_once(names: list[str] | None) -> None:
    if names and (twice := next((n for n in names if names.count(n) > 1), None)) is not None:
        raise ValueError(f"{twice!r} is there twice: give every column a name of its own")


class _Format(NamedTuple):
    """How the text of a CSV file is to be read."""

    separator: str
    quote_char: str
    header: bool
    errors: Errors
    names: list[str] | None
    types: dict[str, pl.DataType]
    null_values: list[str]

    def read(self, data: bytes, **more: Any) -> pl.LazyFrame:
        return pl.scan_csv(
            data,
            separator=self.separator,
            quote_char=self.quote_char or None,
            null_values=self.null_values or None,
            **more,
        )


@operator
def csv_reader(
    *,
    file_path: Annotated[File | list[File], READS],
    separator: Annotated[str, Check(_one_byte)] = ",",
    quote_char: Annotated[str, Check(_no_byte_or_one)] = '"',
    header: bool = True,
    names: Annotated[list[str] | None, Check(_each_once)] = None,
    columns: list[str] | None = None,
    types: dict[str, TypeName] | None = None,
    null_values: list[str] | None = None,
    errors: Errors = "strict",
    context: Context | None = None,
) -> Batches[dict[str, Any]]:
    """Read the records of one or several CSV files.

    The types of the columns are found in the first few megabytes; a later value that does not fit its
    column is an error that names the line. Dates stay text unless `types` says otherwise, and so does a
    column with numbers that 64 bits cannot hold. An empty field is null, `""` an empty text; in a file of
    several columns a blank line is skipped, and fields missing at a row's end are null. Several files must
    have the same columns.

    Args:
        file_path: A file, a list of files, a pattern such as `data/*.csv`, or `-` for standard input. A file, or a
            pattern, may also be a URL such as `s3://bucket/key`. What is compressed with gzip or zstd (`.gz`,
            `.zst`) is decompressed.
        separator: The character between fields.
        quote_char: The character around fields that hold a separator or newline; '' where the file quotes
            nothing.
        header: Whether the first line of each file names the columns.
        names: The columns' names, for files without a header; `column_0`, `column_1`, ... when left out.
        columns: The columns to read, in this order; all when left out.
        types: Types of columns that are not to be guessed: str, int, float, bool, date or datetime.
        null_values: Texts that stand for a missing value, such as `NA`.
        errors: What to do with bytes that are not UTF-8: `strict` fails and names the line, `replace` puts
            U+FFFD in their place.

    Raises:
        DataError: A file is missing or cannot be read, or a column is not there.
        RowError: A row does not fit.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv, types: { zip: str } } }
          - { id: writer, type: JsonFileWriter, params: { file_path: people.jsonl } }
        edges:
          - [people, writer]
    """
    how = _Format(separator, quote_char, header, errors, names, column_types(types), null_values or [])
    schema: dict[str, pl.DataType] = {}
    for path in files(file_path):
        frames: Generator[Any, None, None] = _frames(path, how, schema, columns, context)
        yield from ahead(frames) if is_large(path) else frames


@operator(effects="idempotent", rowwise=False)
def csv_writer(
    records: Batches[dict[str, Any]],
    *,
    file_path: Annotated[File, WRITES, Check(writable)],
    separator: Annotated[str, Check(_one_byte)] = ",",
    header: bool = True,
    context: Context | None = None,
) -> None:
    r"""Write records to a CSV file.

    The first record fixes the columns. Fields are quoted where they must be, null is an empty field, lines
    end with `\n`. The file appears under its name when it is complete.

    Args:
        records: The records.
        file_path: The file, its URL such as `s3://bucket/key`, or `-` for standard output; what goes to a name
            in `.gz` is compressed.
        separator: The character between fields.
        header: Whether the first line names the columns.

    Raises:
        DataError: A record has other columns than the first, or a value that is a list or an object.
        OutputError: The file cannot be written.

    Example:
        nodes:
          - { id: events, type: JsonFileReader, params: { file_path: events.jsonl } }
          - { id: fields, type: KeyExtractor, params: { keys: [timestamp, level] } }
          - { id: writer, type: CsvWriter, params: { file_path: summary.csv } }
        edges:
          - [events, fields]
          - [fields, writer]
    """
    with opened(file_path, context) as file:
        columns: list[str] | None = None
        for frame in stored_early(records, file):
            first = columns is None
            if columns is None:
                columns = frame.columns
            elif frame.columns != columns:
                frame = same_columns(frame, columns)
            _refuse_nested(frame)
            if columns:
                frame.write_csv(file, include_header=first and header, separator=separator)


def _frames(
    path: File,
    how: _Format,
    schema: dict[str, pl.DataType],
    columns: list[str] | None,
    context: Context | None,
) -> Generator[pl.DataFrame, None, None]:
    """Yield a file's records; the first block of the first file fills the schema."""
    lines, header = LinesBefore(path, how.errors), how.header
    for data in _whole_records(blocks(path, how.errors), how.quote_char):
        first = not schema
        if (header or first) and not data.strip(b"\r\n"):  # blank lines before the first row
            lines.add(data)
            continue
        try:
            if header:
                _fix_schema(data, path, how, schema)
            elif first:
                schema.update(_infer(data, how, has_header=False))
            chosen = _chosen(schema, columns, context)
            frame = _parse(data, how, schema, chosen, header)
            if too_large := _too_large(frame, data, how, schema, header):
                if not first:
                    raise _misfit_at(data, path, lines.count(), how, schema, *too_large.popitem())
                schema.update(dict.fromkeys(too_large, pl.String()))
                frame = _parse(data, how, schema, chosen, header)
        except pl.exceptions.PolarsError as error:
            raise _explain(error, data, path, lines.count(), how, schema) from None
        yield frame
        lines.add(data)
        header = False


def _parse(
    data: bytes, how: _Format, schema: dict[str, pl.DataType], chosen: list[str], header: bool
) -> pl.DataFrame:
    query = how.read(data, has_header=header, schema=schema, missing_columns="insert")
    if len(schema) > 1 and _has_blank_line(data):
        query = query.filter(~pl.all_horizontal(pl.all().is_null()))
    return (query if chosen == list(schema) else query.select(chosen)).collect()


def _fix_schema(data: bytes, path: File, how: _Format, schema: dict[str, pl.DataType]) -> None:
    """Take the columns from a header; a later file must have the same ones in the same order."""
    if not schema:
        schema.update(_infer(data, how, has_header=True))
        _refuse_twins(schema, data, path, how)
        return
    found = list(how.read(data, infer_schema=False).collect_schema())
    if found != list(schema):
        raise DataError(
            f"the columns of {str(path)!r} are {', '.join(found)}; "
            f"but the first file has {', '.join(schema)}",
            hint="read files with other columns by a node of their own",
        )


def _infer(data: bytes, how: _Format, *, has_header: bool) -> dict[str, pl.DataType]:
    schema = dict(how.read(data, has_header=has_header, infer_schema_length=None).collect_schema())
    if how.names is not None and not has_header:
        if len(how.names) != len(schema):
            raise DataError(
                f"`names` has {len(how.names)} names, but the file has {len(schema)} columns",
                hint="name every column, in the order of the file",
            )
        schema = dict(zip(how.names, schema.values(), strict=True))
    need_columns(how.types, schema)
    kinds = {name: pl.String() if kind == pl.Int128 else kind for name, kind in schema.items()}
    return kinds | how.types


def _refuse_twins(found: Iterable[str], data: bytes, path: File, how: _Format) -> None:
    """Refuse a header with one name twice, which Polars changes without a word."""
    if not any("_duplicated_" in name for name in found):
        return
    _, header = next((line, row) for line, row in _rows(data, how) if row)
    for at, name in enumerate(header):
        if (before := header.index(name)) < at:
            raise DataError(
                f"columns {before + 1} and {at + 1} of {str(path)!r} "
                + (f"are both named {name!r}" if name else "both have no name"),
                hint="give every column a name of its own in the first line",
            )


def _too_large(
    frame: pl.DataFrame, data: bytes, how: _Format, schema: dict[str, pl.DataType], header: bool
) -> dict[str, str]:
    """Return the columns that were read as floats for numbers too large, each with the first such text."""
    names = [n for n, kind in frame.schema.items() if kind == pl.Float64 and n not in how.types]
    names = [n for n in names if frame[n].is_infinite().any() or _is_at_least_2_63(frame[n])]
    if not names:
        return {}
    texts = _parse(data, how, dict.fromkeys(schema, pl.String()), names, header)
    found = {}
    for name in names:
        text = texts[name]
        value = text.str.strip_chars().cast(pl.Float64, strict=False)
        whole = text.str.contains(r"^\s*[+-]?\d+\s*$") & (value.abs() >= 2.0**63)
        bad = text.filter(whole | (value.is_infinite() & text.str.contains(r"\d")))
        if len(bad):
            found[name] = str(bad[0])
    return found


def _is_at_least_2_63(floats: pl.Series) -> bool:
    found: Any = floats.abs().max()
    return found is not None and bool(found >= 2.0**63)


def _chosen(schema: dict[str, pl.DataType], columns: list[str] | None, context: Context | None) -> list[str]:
    if columns is not None:
        need_columns(columns, schema)
        return columns
    return hinted(context, schema) or list(schema)


def _whole_records(found: Iterator[bytes], quote_char: str) -> Iterator[bytes]:
    """Join blocks until no quoted field is open at their end: a quoted field may hold newlines."""
    if not quote_char:
        yield from found
        return
    quote = quote_char.encode()
    parts: list[bytes] = []
    is_open = False
    for data in found:
        if quote in data:
            is_open ^= bool(data.count(quote) % 2)
        parts.append(data)
        if not is_open:
            yield b"".join(parts) if len(parts) > 1 else data
            parts = []
    if parts:
        yield b"".join(parts)


def _has_blank_line(data: bytes) -> bool:
    return b"\n\n" in data or b"\n\r\n" in data or data[:1] in b"\r\n"


def _rows(data: bytes, how: _Format) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a block as Python reads them, each with the number of its first line."""
    quotes: dict[str, Any] = {"quotechar": how.quote_char} if how.quote_char else {"quoting": csv.QUOTE_NONE}
    text = io.StringIO(data.decode("utf-8", "replace"), newline="")
    reader = csv.reader(text, delimiter=how.separator, **quotes)
    start = 1
    for row in reader:
        yield start, row
        start = reader.line_num + 1


def _misfit_at(
    data: bytes, path: File, lines: int, how: _Format, schema: dict[str, pl.DataType], column: str, text: str
) -> RowError:
    """Return the error for a number that is too large for a column of a later block."""
    at = list(schema).index(column)
    line = lines + next((n for n, row in _rows(data, how) if len(row) > at and row[at] == text), 1)
    return RowError(
        f"line {line} of {str(path)!r}: column {column!r} is {text!r}, which 64 bits cannot hold",
        row=line,
        field=column,
        hint=f"set `types: {{ {column}: str }}` to keep every digit, or `float` to round",
    )


def _explain(
    error: Exception, data: bytes, path: File, lines: int, how: _Format, schema: dict[str, pl.DataType]
) -> DataError:
    """Say which row of a block Polars could not read."""
    if found := not_utf8(data, path, lines):
        return found
    misfit = _MISFIT.search(str(error))
    width = len(schema)
    last = 0
    for last, row in _rows(data, how):
        width = width or len(row)
        line = lines + last
        if misfit and width >= len(row) >= int(misfit[4]) and row[int(misfit[4]) - 1] == misfit[1]:
            column = misfit[3]
            kind = type_name(schema[column]) if column in schema else misfit[2]
            return RowError(
                f"line {line} of {str(path)!r}: column {column!r} is {misfit[1]!r}, which is no {kind}",
                row=line,
                field=column,
                hint=f"correct the value, or set `types: {{ {column}: str }}`, or add it to `null_values`",
            )
        if len(row) > width:
            return RowError(
                f"line {line} of {str(path)!r} has {len(row)} fields, but there are {width} columns",
                row=line,
                hint="correct the row, or set the `separator` and `quote_char` that the file has",
            )
    return DataError(
        f"cannot read {str(path)!r} as CSV, between line {lines + 1} and {lines + last}: {first_line(error)}",
        hint="set `quote_char: ''` if the file has quotes that are not around a whole field",
    )


def _refuse_nested(frame: pl.DataFrame) -> None:
    for name, kind in frame.schema.items():
        if kind.is_nested() or kind == pl.Binary:
            raise DataError(
                f"column {name!r} holds {kind}, which CSV has no way to write",
                hint="take single fields out with KeyExtractor (keys: [user.name]), or use JsonFileWriter",
            )
