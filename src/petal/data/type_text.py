"""Write an annotation as text that says all that values of it depend on, the same in every process."""

from __future__ import annotations

import enum
import sys
import typing
from functools import lru_cache
from types import NoneType
from typing import Any

from petal.spec.pipeline import MISSING
from petal.spec.rows import declared_record, fields_of, members


def type_text(annotation: Any) -> str:
    """Return an annotation as text: classes with their modules, records with their fields, enumerations with members.

    Two values whose bytes are equal may differ if their types do, as a text and a member of an enumeration; this tells
    them apart.
    """
    if annotation is MISSING:
        return ""
    try:
        return _kept(annotation)
    except TypeError:  # unhashable, as Annotated[str, []] is
        return _written(annotation, ())


@lru_cache(2048)
def _kept(annotation: Any) -> str:
    return _written(annotation, ())


def _written(annotation: Any, inside: tuple[Any, ...]) -> str:
    return " | ".join([_member(m, inside) for m in members(annotation)])


def _member(member: Any, inside: tuple[Any, ...]) -> str:
    if member is None or member is NoneType:
        return "None"
    origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    text = _name(origin)
    if arguments:
        text += f"[{', '.join('...' if a is Ellipsis else _written(a, inside) for a in arguments)}]"
    record = declared_record(member)
    if record is not None and record not in inside:
        fields = [f"{f.key}: {_written(f.type, (*inside, record))}" for f in fields_of(record)]
        text += f"({', '.join(fields)})"
    elif isinstance(origin, type) and issubclass(origin, enum.Enum):
        text += f"({', '.join(f'{name}={m.value!r}' for name, m in origin.__members__.items())})"
    return text


def _name(found: Any) -> str:
    """Name a class with its module, as every process names that."""
    name = getattr(found, "__qualname__", None)
    if name is None:
        return str(found)
    module = found.__module__
    if module in sys.modules and (module == "__main__" or module.startswith("petal_file_")):
        from petal.code.definitions import module_label  # what most runs do not need

        module = module_label(vars(sys.modules[module]))
    return f"{module}.{name}"
