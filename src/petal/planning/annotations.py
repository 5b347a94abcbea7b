"""Take type annotations apart, and write them as a person would."""

import collections
import dataclasses
import inspect
import types
import typing
from collections import abc
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, Union

import msgspec

from petal.spec.pipeline import MISSING

#: What stands in a type's brackets; None for a type without brackets.
Arguments: TypeAlias = tuple[Any, ...] | None

_WRAPPERS = frozenset({"Final", "ClassVar", "Required", "NotRequired", "ReadOnly"})
_TYPING_MODULES = frozenset({"typing", "typing_extensions"})
_BUILTIN_MODULES = frozenset({"builtins", "collections", "collections.abc"})
_MOST_LAYERS: Final = 20

#: What iterating over a class without brackets yields.
_ELEMENTS: dict[type, type] = {str: str, bytes: int, bytearray: int, memoryview: int, range: int}

_COVARIANT = (
    *(abc.Iterable, abc.Iterator, abc.Reversible, abc.Container, abc.Collection, abc.Sequence, abc.Set),
    *(abc.AsyncIterable, abc.AsyncIterator, abc.Awaitable, abc.KeysView, abc.ValuesView, frozenset, type),
)
#: Variance by parameter, see :func:`variances`; a built-in type that is missing here is invariant.
_VARIANCES: dict[type, str] = dict.fromkeys(_COVARIANT, "+") | {
    abc.Mapping: "=+",
    abc.ItemsView: "++",
    abc.Generator: "+-+",
    abc.AsyncGenerator: "+-",
    abc.Coroutine: "+-+",
}


# --- One annotation --------------------------------------------------------------------------------


def plain(annotation: Any) -> Any:
    """Take off what does not change which values fit: Annotated, Final, aliases and the like."""
    for _ in range(_MOST_LAYERS):  # `type X = X` never ends
        origin = typing.get_origin(annotation)
        if annotation is None:
            return types.NoneType
        if annotation is typing.LiteralString:
            return str
        if origin is typing.Annotated or getattr(origin, "_name", None) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            break
    return annotation


def parts(annotation: Any) -> tuple[Any, Arguments]:
    """Return the class and what stands in its brackets; bare `typing.List` counts as `list`."""
    origin = typing.get_origin(annotation)
    if origin is None:
        return annotation, None
    arguments = typing.get_args(annotation)
    is_empty_tuple = origin is tuple and annotation is not typing.Tuple  # noqa: UP006 - what a user may write
    return origin, arguments if arguments or is_empty_tuple else None


def is_annotation(value: Any) -> bool:
    """Tell whether the value is a type, rather than text that names one or something else entirely."""
    if isinstance(value, (type, types.GenericAlias, types.UnionType)):
        return True
    return type(value).__module__ in _TYPING_MODULES and not isinstance(value, typing.ForwardRef)


def is_union(annotation: Any) -> bool:
    """Tell whether this is `X | Y`, `Union` or `Optional`."""
    return typing.get_origin(annotation) in (Union, types.UnionType)


def union_of(types_: Iterable[Any]) -> Any:
    """Return the union of types, Any if there are none."""
    return Union[tuple(types_) or (Any,)]  # noqa: UP007 - text among them has no `|`


def is_literal(annotation: Any) -> bool:
    """Tell whether this is `Literal[...]`."""
    return typing.get_origin(annotation) is typing.Literal


def is_unpacked(argument: Any) -> bool:
    """Tell whether this is `*tuple[...]` or `Unpack[...]`."""
    return getattr(argument, "__unpacked__", False) or typing.get_origin(argument) is typing.Unpack


def is_open_ended(arguments: tuple[Any, ...]) -> bool:
    """Tell whether these are the brackets of `tuple[X, ...]`."""
    return len(arguments) == 2 and arguments[1] is ...


# --- Classes ---------------------------------------------------------------------------------------


def is_protocol(cls: type) -> bool:
    """Tell whether the class is a Protocol itself, not only an implementation of one."""
    return bool(getattr(cls, "_is_protocol", False))


def is_interface(cls: type) -> bool:
    """Tell whether values of the class are always of some other class, which the annotation hides."""
    return is_protocol(cls) or cls.__module__ == "collections.abc"


@typing.runtime_checkable
class _EmptyProtocol(Protocol[TypeVar("T")]):  # type: ignore[misc]
    """What every protocol has, whatever its members are."""

    __slots__ = ()
    x: int


_NO_MEMBERS = frozenset(vars(_EmptyProtocol)) | {
    "__weakref__",
    "__dict__",
    "__orig_bases__",
    "__parameters__",
}


def protocol_members(protocol: type) -> dict[str, bool]:
    """Return the names of a protocol's members, and whether each is a method."""
    members: dict[str, bool] = {}
    for base in protocol.__mro__:
        if is_protocol(base) and base not in (Protocol, Generic):
            own = {name: callable(value) for name, value in vars(base).items() if name not in _NO_MEMBERS}
            members |= dict.fromkeys(inspect.get_annotations(base), False) | own
    return members


def variances(cls: type, count: int) -> str:
    """Return a sign for each of a class's parameters.

    Signs are ``+`` covariant, ``-`` contravariant, ``=`` invariant, and ``?`` where only a
    type checker would know.
    """
    parameters = getattr(cls, "__parameters__", ())
    if cls in _VARIANCES or len(parameters) != count:
        return _VARIANCES.get(cls, "").ljust(count, "=")[:count]
    return "".join(map(_sign, parameters))


def _sign(parameter: Any) -> str:
    if getattr(parameter, "__infer_variance__", False) or not isinstance(parameter, TypeVar):
        return "?"
    return "+" if parameter.__covariant__ else "-" if parameter.__contravariant__ else "="


def seen_as(target: type, cls: type, arguments: Arguments) -> Arguments:
    """Return the brackets of `target` for a subclass: `dict[str, int]` is an `Iterable[str]`.

    Returns:
        The arguments of `target`, or None if they are not known.
    """
    if cls is target:
        return arguments
    if arguments is None and cls in _ELEMENTS:
        return (_ELEMENTS[cls],)
    if is_named_tuple(cls):
        return seen_as(target, tuple, tuple(field.type for field in fields_of(cls).values()))
    if cls.__module__ in _BUILTIN_MODULES:
        return None if arguments is None else _builtin_seen_as(target, cls, arguments)
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin, base_arguments = parts(base)
        if isinstance(origin, type) and (target in origin.__mro__ or issubclass(origin, target)):
            return seen_as(target, origin, _filled_in(base, base_arguments, cls, arguments))
    return None


def _filled_in(base: Any, base_arguments: Arguments, cls: Any, arguments: Arguments) -> Arguments:
    """Put a class's arguments in place of the variables in one of its bases: `Rows[int]` for `list[T]`."""
    variables = getattr(base, "__parameters__", ())
    if base_arguments is None or not variables:
        return base_arguments
    if arguments is None:
        return None
    parameters = getattr(cls, "__parameters__", variables)  # a class without Generic has none of its own
    values = dict(zip(parameters, arguments, strict=True))
    return typing.get_args(base[tuple(values[variable] for variable in variables)])


def _builtin_seen_as(target: type, cls: type, arguments: tuple[Any, ...]) -> Arguments:
    if issubclass(cls, tuple):
        if any(map(is_unpacked, arguments)):
            return None
        items = arguments[:1] if is_open_ended(arguments) else arguments
        return (union_of(items) if items else typing.Never,)
    if issubclass(cls, Mapping):
        key_and_value = (arguments[0], int) if cls is collections.Counter else arguments
        return key_and_value if issubclass(target, Mapping) else arguments[:1]
    if issubclass(cls, abc.ItemsView):
        return (types.GenericAlias(tuple, arguments),)
    if issubclass(cls, abc.Coroutine):
        return arguments[2:]
    return arguments[:1] if issubclass(cls, (abc.Generator, abc.AsyncGenerator)) else arguments


# --- Records ---------------------------------------------------------------------------------------


class Field(NamedTuple):
    """A field of a record: its type, whether a reader needs it, and whether each value has it."""

    type: Any
    required: bool
    present: bool


def is_named_tuple(cls: Any) -> bool:
    """Tell whether this is a class made by NamedTuple or namedtuple."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_field_defaults")


def declares_fields(cls: Any) -> bool:
    """Tell whether this is a TypedDict, dataclass, Struct or NamedTuple class."""
    return isinstance(cls, type) and (
        typing.is_typeddict(cls)
        or dataclasses.is_dataclass(cls)
        or issubclass(cls, msgspec.Struct)
        or is_named_tuple(cls)
    )


def record_like(annotation: object) -> bool:
    """Tell whether values of the annotation are records, which Petal converts by field.

    Records are TypedDict, dataclass, Struct and NamedTuple classes, every `dict`, and a `Mapping` with keys
    of text. Never raises.
    """
    try:
        origin, arguments = parts(plain(annotation))
        if origin is abc.Mapping:
            return arguments is None or plain(arguments[0]) in (str, Any)
        return origin is dict or declares_fields(origin)
    except Exception:
        return False


@lru_cache(maxsize=1024)
def fields_of(record: Any) -> Mapping[str, Field]:
    """Return the fields that a record class declares.

    Raises:
        NameError: An annotation names what cannot be found.
    """
    if issubclass(record, msgspec.Struct):
        return _struct_fields(record)
    hints = typing.get_type_hints(record, include_extras=True)
    if typing.is_typeddict(record):
        return {
            name: _typed_dict_field(hint, name in record.__required_keys__) for name, hint in hints.items()
        }
    if dataclasses.is_dataclass(record):
        return {
            field.name: _dataclass_field(field, hints[field.name]) for field in dataclasses.fields(record)
        }
    names: tuple[str, ...] = record._fields
    return {name: Field(hints.get(name, Any), name not in record._field_defaults, True) for name in names}


def _struct_fields(record: type[msgspec.Struct]) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for field in msgspec.structs.fields(record):
        required = field.required and field.encode_name == field.name  # a renamed one goes by either name
        found[field.name] = found[field.encode_name] = Field(field.type, required, present=True)
    return found


def _dataclass_field(field: dataclasses.Field[Any], hint: Any) -> Field:
    has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    return Field(hint, required=field.init and not has_default, present=True)


def _typed_dict_field(hint: Any, required: bool) -> Field:
    """Read Required and NotRequired from the hint: Python overlooks them in postponed annotations."""
    origin = typing.get_origin(hint)
    required = origin is typing.Required or (required and origin is not typing.NotRequired)
    return Field(plain(hint), required, present=required)


# --- In writing ------------------------------------------------------------------------------------


def type_text(annotation: object) -> str:
    """Write an annotation as a person would: `list[str]`, `Score | None`; `?` if there is none.

    Never raises.
    """
    try:
        return _text(annotation)
    except Exception:
        return type(annotation).__name__


def _text(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is MISSING:
        return "?"
    if annotation is None or annotation is types.NoneType:
        return "None"
    if annotation is ...:
        return "..."
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(map(_text, annotation))}]"
    if origin is None:
        return _name(annotation)
    if origin is typing.Annotated:
        return _text(arguments[0])
    if is_union(annotation):
        return " | ".join(map(_text, arguments))
    star = "*" if getattr(annotation, "__unpacked__", False) else ""
    if parts(annotation)[1] is None:
        return star + _name(origin)
    write = _literal_text if is_literal(annotation) else _text
    return f"{star}{_name(origin)}[{', '.join(map(write, arguments)) or '()'}]"


def _literal_text(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _name(annotation: Any) -> str:
    name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None)
    if not isinstance(name, str):
        name = repr(annotation).removeprefix("typing.").removeprefix("collections.abc.")
    return name.rpartition("<locals>.")[2]
