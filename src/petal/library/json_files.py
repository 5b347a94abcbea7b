"""JSON files: records in, records out, one to a line or in one array."""

import json
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Annotated, Any, Literal

import polars as pl

from petal import READS, WRITES, Batches, Check, Context, DataError, RowError, operator
from petal.library.blocks import Errors, LinesBefore, ahead, blocks, is_large, not_utf8
from petal.library.hints import hinted
from petal.library.json_errors import AS_TEXT, SPREAD, Misfit, explain_array, is_spread, loads, too_large
from petal.library.names import need_columns
from petal.library.output import opened, stored_early, writable
from petal.library.paths import File, files
from petal.library.types import TypeName, column_types, type_name

#: Rows of a batch that is cut from an array, which is read whole.
ROWS = 65_536

Schema = dict[str, pl.DataType]


@operator
def json_file_reader(
    *,
    file_path: Annotated[File | list[File], READS],
    columns: list[str] | None = None,
    types: dict[str, TypeName] | None = None,
    errors: Errors = "strict",
    context: Context | None = None,
) -> Batches[dict[str, Any]]:
    """Read the records of one or several JSON files.

    A file holds one object on each line (blank lines are skipped), or one array of objects, which is read
    whole. The first few megabytes fix the fields and their types; a later row that has another field, or a
    value that does not fit, is an error that names line and field. A field that a row lacks is null, and a
    number in a text field becomes text.

    Args:
        file_path: A file, a list of files, a pattern such as `events/*.jsonl`, or `-` for standard input. A file, or
            a pattern, may also be a URL such as `s3://bucket/key`. What is compressed with gzip or zstd (`.gz`,
            `.zst`) is decompressed.
        columns: The top-level fields to read; others are ignored, which is faster. All when left out.
        types: Types of fields that are not to be guessed: str, int, float, bool, date or datetime.
        errors: What to do with bytes that are not UTF-8: `strict` fails and names the line, `replace` puts
            U+FFFD in their place.

    Raises:
        DataError: A file is missing or cannot be read.
        RowError: A row is not a JSON object, or does not fit.

    Example:
        nodes:
          - { id: events, type: JsonFileReader, params: { file_path: events.jsonl } }
          - { id: fields, type: KeyExtractor, params: { keys: [timestamp, user.name] } }
          - { id: writer, type: CsvWriter, params: { file_path: users.csv } }
        edges:
          - [events, fields]
          - [fields, writer]
    """
    reader = _Reader(columns, column_types(types), errors, context)
    for path in files(file_path):
        frames: Generator[Any, None, None] = reader.frames(path)
        yield from ahead(frames) if is_large(path) else frames


@operator(effects="idempotent", rowwise=False)
def json_file_writer(
    records: Batches[dict[str, Any]],
    *,
    file_path: Annotated[File, WRITES, Check(writable)],
    format: Literal["lines", "array"] = "lines",
    context: Context | None = None,
) -> None:
    """Write records to a JSON file.

    Dates are written as text, NaN and infinities as null. The file appears under its name when it is
    complete.

    Args:
        records: The records.
        file_path: The file, its URL such as `s3://bucket/key`, or `-` for standard output; what goes to a name
            in `.gz` is compressed.
        format: `lines` for one object on each line, `array` for one array of them.

    Raises:
        DataError: A value is of bytes, which JSON cannot hold.
        OutputError: The file cannot be written.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: writer, type: JsonFileWriter, params: { file_path: people.json, format: array } }
        edges:
          - [people, writer]
    """
    with opened(file_path, context) as file:
        between = b"[\n"
        for frame in stored_early(records, file):
            if not len(frame):
                continue
            _refuse_bytes(frame)
            if format == "lines":
                frame.write_ndjson(file)
                continue
            rows = frame.write_ndjson().rstrip("\n").replace("\n", ",\n")
            file.write(between + rows.encode())
            between = b",\n"
        if format == "array":
            file.write(b"[]\n" if between == b"[\n" else b"\n]\n")


class _Reader:
    """Reads files with the one schema that the first batch fixes."""

    def __init__(
        self, columns: list[str] | None, types: Schema, errors: Errors, context: Context | None
    ) -> None:
        self._wanted = columns
        self._types = types
        self._errors: Errors = errors
        self._context = context
        self._schema: Schema | None = None

    def frames(self, path: File) -> Generator[pl.DataFrame, None, None]:
        """Yield a file's records."""
        found = blocks(path, self._errors, growth=2)  # parsing starts threads for each block
        lines = LinesBefore(path, self._errors)
        for data in found:
            if not data.isspace():
                if data.lstrip()[:1] == b"[":
                    yield from self._array(b"".join(chain([data], found)), path, lines)
                else:
                    yield self._lines(data, path, lines)
                    lines.add(data)
                    break
            lines.add(data)
        for data in found:
            if not data.isspace():
                yield self._lines(data, path, lines)
            lines.add(data)

    def _lines(self, data: bytes, path: File, before: LinesBefore) -> pl.DataFrame:
        first = self._schema is None
        try:
            if first:
                self._fix(pl.scan_ndjson(data, infer_schema_length=None).collect_schema())
            elif self._wanted is None:
                self._refuse_change(pl.scan_ndjson(data, infer_schema_length=None).collect_schema())
            return pl.read_ndjson(data, schema=self._schema)
        except (pl.exceptions.PolarsError, Misfit) as error:
            if first:
                self._schema = None
            raise self._explain(error, data, path, before.count()) from None

    def _array(self, data: bytes, path: File, before: LinesBefore) -> Iterator[pl.DataFrame]:
        if not data.strip()[1:-1].strip():
            return
        try:
            frame = pl.read_json(data, schema_overrides=self._types, infer_schema_length=None)
            if self._schema is None:
                self._fix(frame.schema)
            elif self._wanted is None:
                self._refuse_change(frame.schema)
            frame = _in_schema(frame, self._schema or {})
        except (pl.exceptions.PolarsError, Misfit) as error:
            raise explain_array(error, data, path, before.count()) from None
        yield from frame.iter_slices(ROWS)

    def _fix(self, found: pl.Schema) -> None:
        schema = dict(found) | {
            k: v for k, v in self._types.items() if k in found or self._wanted is None or k in self._wanted
        }
        if self._wanted is None:
            self._wanted = hinted(self._context, schema)
        else:
            need_columns(self._wanted, schema)
        if self._wanted is not None:
            schema = {name: kind for name, kind in schema.items() if name in self._wanted}
        self._schema = schema

    def _refuse_change(self, found: pl.Schema) -> None:
        for name, kind in found.items():
            fixed = (self._schema or {}).get(name)
            if fixed is None:
                raise Misfit(name, "is new: the first rows do not have it")
            if name not in self._types and not _fits(kind, fixed):
                raise Misfit(name, f"is {type_name(kind)}, but the first rows fixed it as {type_name(fixed)}")

    def _explain(self, error: Exception, data: bytes, path: File, before: int) -> DataError:
        """Find the line that Polars, or the schema, refuses."""
        if found := not_utf8(data, path, before):
            return found
        rows = data.split(b"\n")
        at = _first_failure(rows, self._takes)
        line = before + at
        where = f"line {line} of {str(path)!r}"
        try:
            value = loads(rows[at - 1])
        except json.JSONDecodeError as problem:
            what = f"{problem.msg} (column {problem.colno})"
            hint = SPREAD if is_spread(rows, at) else "correct the line"
            return RowError(f"{where} is not JSON: {what}", row=line, hint=hint)
        except RecursionError:
            return RowError(f"{where} is nested too deeply", row=line, hint="flatten the object")
        if not isinstance(value, dict):
            kind = type(value).__name__
            return RowError(
                f"{where} is not an object but {kind}", row=line, hint="write one object on each line"
            )
        for key, entry in value.items():
            limit = 2**63 if (self._schema or {}).get(key) == pl.Int64 else 2**127
            if number := too_large(entry, limit):
                return RowError(f"{where}: field {key!r} {number}", row=line, field=key, hint=AS_TEXT)
        field, why = self._misfit(rows[: at - 1], value, error)
        return RowError(
            f"{where}: field {field!r} {why}" if field else f"{where}: {why}",
            row=line,
            field=field,
            hint="correct the row, set `types` for the field, or read only the `columns` that are needed",
        )

    def _takes(self, rows: list[bytes]) -> bool:
        data = b"\n".join(rows)
        if not data or data.isspace():
            return True
        try:
            found = pl.scan_ndjson(data, infer_schema_length=None).collect_schema()
            if self._schema is not None and self._wanted is None:
                self._refuse_change(found)
            pl.read_ndjson(data, schema=self._schema or dict(found) | self._types)
        except (pl.exceptions.PolarsError, Misfit):
            return False
        return True

    def _misfit(
        self, rows_before: list[bytes], value: dict[str, Any], error: Exception
    ) -> tuple[str | None, str]:
        schema = self._schema
        if schema is None:
            joined = b"\n".join(rows_before)
            schema = {}
            if joined and not joined.isspace():
                schema = dict(pl.scan_ndjson(joined, infer_schema_length=None).collect_schema()) | self._types
        for key, entry in value.items():
            fixed = schema.get(key)
            if fixed is None:
                if self._schema is not None and self._wanted is None:
                    return key, "is new: the first rows do not have it"
                continue
            if not _takes_alone(key, entry, fixed, exact=key not in self._types):
                return key, f"is {json.dumps(entry)[:80]}, but the rows before fixed it as {type_name(fixed)}"
        if isinstance(error, Misfit):
            return error.field, error.why
        return None, "the row does not fit the rows before it"


def _fits(found: pl.DataType, fixed: pl.DataType) -> bool:
    """Whether values of one type can be read as another without losing anything."""
    if found == fixed or found == pl.Null:
        return True
    if isinstance(found, pl.Struct) and isinstance(fixed, pl.Struct):
        inner = {f.name: f.dtype for f in fixed.fields}
        return all(f.name in inner and _fits(_of(f.dtype), _of(inner[f.name])) for f in found.fields)
    if isinstance(found, pl.List) and isinstance(fixed, pl.List):
        return _fits(_of(found.inner), _of(fixed.inner))
    if fixed == pl.String:
        return not found.is_nested()
    return found.is_integer() and fixed.is_numeric()


def _of(kind: Any) -> pl.DataType:
    found: pl.DataType = kind() if isinstance(kind, type) else kind
    return found


def _takes_alone(key: str, entry: object, fixed: pl.DataType, *, exact: bool) -> bool:
    data = json.dumps({key: entry}).encode()
    try:
        found = pl.scan_ndjson(data, infer_schema_length=None).collect_schema()[key]
        pl.read_ndjson(data, schema={key: fixed})
    except pl.exceptions.PolarsError:
        return False
    return not exact or _fits(found, fixed)


def _first_failure(rows: list[bytes], takes: Callable[[list[bytes]], bool]) -> int:
    """Return how many rows it takes until the last of them fails, by halving."""
    good, bad = 0, len(rows)
    while bad - good > 1:
        middle = (good + bad) // 2
        if takes(rows[:middle]):
            good = middle
        else:
            bad = middle
    return bad


def _in_schema(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    absent = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in frame.columns
    ]
    return frame.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in schema.items())


def _refuse_bytes(frame: pl.DataFrame) -> None:
    for name, kind in frame.schema.items():
        if "Binary" in str(kind):
            raise DataError(
                f"column {name!r} holds bytes, which JSON cannot hold",
                hint="turn them into text before writing",
            )
