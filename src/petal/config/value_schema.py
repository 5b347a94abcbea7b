"""JSON Schema of the values that an annotation takes, as far as it can be said."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from petal.spec.crossing import paths_as_text
from petal.spec.pipeline import MISSING
from petal.spec.url import URL
from petal.spec.views import Seen, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from petal.spec.operator import Input

Schema = dict[str, Any]

#: Text with a ``${...}`` reference, which may stand for any value of a parameter (S8.3).
REFERENCE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}
REFERENCE_NAME: Final = "reference"
_TO_REFERENCE: Final[Schema] = {"$ref": f"#/$defs/{REFERENCE_NAME}"}
#: Keeps the schemas of classes apart from the file's own parts in ``$defs``.
_TYPES: Final = "types."
#: What a reader sees of a schema; it stays outside of ``anyOf``, where editors find it.
_SHOWN: Final = frozenset({"title", "description", "default", "examples", "deprecated"})
#: Keywords under which a text with a reference in it could fail.
_NARROW: Final = frozenset({"enum", "const", "pattern", "format", "maxLength", "contentEncoding", "not"})
#: Formats of text that msgspec also reads from a number.
_NUMERIC_FORMATS: Final = frozenset({"decimal", "duration"})
_ANYTHING: Final[Schema] = {"$comment": "a value that JSON Schema cannot describe"}


def value_schemas(annotations: Sequence[object]) -> tuple[list[Schema], dict[str, Schema]]:
    """Describe annotations: a schema for each, and the definitions that these refer to.

    What msgspec cannot describe, and MISSING, is ``{}``: anything goes. Each schema takes a ``${...}``
    reference too, at every level.
    """
    annotations = [
        annotation if (texts := paths_as_text(annotation)) is None else texts for annotation in annotations
    ]
    able = [i for i, annotation in enumerate(annotations) if _describable(annotation)]
    found, components = _describe([annotations[i] for i in able])
    schemas: list[Schema] = [{} for _ in annotations]
    for i, schema in zip(able, found, strict=True):
        schemas[i] = _loosen(schema)
    return schemas, {_TYPES + name: _loosen_inside(schema) for name, schema in components.items()}


def input_annotation(port: Input) -> object:
    """Return what a constant for an input looks like in a file: a stream or frame is a list there."""
    look: Seen = port.seen
    if look.view is View.VALUE:
        return port.annotation
    if look.element is MISSING or not _describable(look.element):
        return list[Any]
    return list[look.element]  # type: ignore[name-defined]


def plain_default(value: object) -> tuple[Any, ...]:
    """Return the default as plain data in a tuple, or an empty tuple when it has no such form."""
    if value is MISSING:
        return ()
    try:
        text = msgspec.json.encode(value, enc_hook=_path_text, order="deterministic")
        found = msgspec.json.decode(text)
    except (TypeError, ValueError, RecursionError):
        return ()
    infinite = isinstance(value, float) and not math.isfinite(value)
    return () if infinite else (found,)


def _path_text(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(type(value).__name__)


def _hook(kind: type) -> Schema:
    """Describe the types that msgspec does not know."""
    if isinstance(kind, type) and issubclass(kind, PurePath | URL):
        return {"type": "string"}
    return _ANYTHING


def _describe(annotations: Sequence[object]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    template = f"#/$defs/{_TYPES}{{name}}"
    return msgspec.json.schema_components(annotations, schema_hook=_hook, ref_template=template)


def _describable(annotation: object) -> bool:
    if annotation is MISSING:
        return False
    try:
        _describe((annotation,))
    except Exception:  # an annotation may be any object, and none is a reason to stop
        return False
    return True


def _loosen(schema: Schema) -> Schema:
    """Accept a reference beside what the schema accepts."""
    inner = _loosen_inside(schema)
    if _takes_any_text(inner):
        return inner
    shown = {k: v for k, v in inner.items() if k in _SHOWN}
    rest = {k: v for k, v in inner.items() if k not in _SHOWN}
    choices = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    return {**shown, "anyOf": [*choices, _TO_REFERENCE]}


def _loosen_inside(schema: Schema) -> Schema:
    """Accept references in what the schema's value holds."""
    found = {k: v for k, v in schema.items() if k != "$comment"}
    if found.get("format") in _NUMERIC_FORMATS:
        del found["format"]
        found["type"] = ["string", "number"]
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _loosen(found[key])
    if "prefixItems" in found:
        found["prefixItems"] = [_loosen(s) for s in found["prefixItems"]]
    if "properties" in found:
        found["properties"] = {k: _loosen(s) for k, s in found["properties"].items()}
    if "anyOf" in found:
        found["anyOf"] = [_loosen_inside(s) for s in found["anyOf"]]
    return found


def _takes_any_text(schema: Schema) -> bool:
    if "$ref" in schema or not _NARROW.isdisjoint(schema):
        return False
    if "anyOf" in schema:
        return any(_takes_any_text(s) for s in schema["anyOf"])
    kind = schema.get("type")
    return kind is None or kind == "string" or (isinstance(kind, list) and "string" in kind)
