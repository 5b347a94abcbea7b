"""Write plain data as YAML, JSON or TOML that people like to read and every reader understands alike."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from petal.config.source import MAX_DEPTH, SURROGATE, shown
from petal.errors import UsageError

if TYPE_CHECKING:
    from yaml.nodes import Node

    from petal.config.syntax import Format

#: A leaf mapping or list up to this width stands on one line of YAML.
_FLOW_WIDTH: Final = 70

_PREFIX: Final = "tag:yaml.org,2002:"
_LINE_BREAKS: Final = re.compile("[\n\r\x85\u2028\u2029]")
#: Text that some reader of YAML 1.1 or 1.2 takes for a number, date, truth value, null or operator.
_AMBIGUOUS: Final = re.compile(
    r"[-+.]*[0-9][0-9a-fA-FxXoObBtTzZ_:.+\- ]*|y|yes|n|no|on|off|true|false|null|~|<<|=|[-+]?\.(?:inf|nan)",
    re.IGNORECASE,
)


def dump(data: dict[str, Any], format: Format) -> str:
    """Write data as text that ``syntax.parse`` reads back as equal data.

    Args:
        data: Plain dicts with text keys, lists, text, numbers, booleans and None.
        format: ``yaml``, ``json`` or ``toml``.

    Raises:
        UsageError: A value has no form in this format; the message names its key.
    """
    plain = _plain(data, (), format)
    if not isinstance(plain, dict):
        raise UsageError(f"a pipeline file holds a mapping, not a {type(data).__name__}")
    return _WRITERS[format](plain)


def _plain(value: Any, path: tuple[str | int, ...], format: Format) -> Any:
    """Return a value as builtin types only, or say why this format cannot hold it."""
    if len(path) > MAX_DEPTH:
        raise _unfit(path, f"is nested more than {MAX_DEPTH} deep", "flatten the structure")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise _unfit((*path, str(key)), "has a key that is not text", "make the key a str")
        return {_text(key, (*path, key)): _plain(item, (*path, key), format) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index), format) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _text(value, path)
    return _scalar(value, path, format)


def _scalar(value: Any, path: tuple[str | int, ...], format: Format) -> Any:
    if value is None:
        if format == "toml":
            raise _unfit(path, "is None, which TOML cannot write", "leave the key out, or write YAML or JSON")
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        try:
            str(int(value))
        except ValueError:
            raise _unfit(path, "is an integer with too many digits", "write it as text") from None
        return int(value)
    if isinstance(value, float):
        if format == "json" and not math.isfinite(value):
            raise _unfit(path, f"is {value}, which JSON cannot write", "write YAML or TOML") from None
        return float(value)
    raise _unfit(
        path, f"is a {type(value).__name__}, which no file can hold", "use text, numbers, lists and dicts"
    )


def _text(value: str, path: tuple[str | int, ...]) -> str:
    if SURROGATE.search(value):
        raise _unfit(path, "holds half of a surrogate pair, which is not a character", "remove it")
    return str(value)


def _unfit(path: tuple[str | int, ...], problem: str, hint: str) -> UsageError:
    where = ""
    for step in path:
        where += f"[{step}]" if isinstance(step, int) else f".{step}"
    name = shown(SURROGATE.sub("\ufffd", where.lstrip("."))) if path else "the pipeline"
    return UsageError(f"{name} {problem}", hint=hint)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _toml(data: dict[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps(data, indent=2, multiline_strings=not _has_crlf(data))


def _has_crlf(value: Any) -> bool:
    """Tell whether text holds a line end that TOML's multi-line strings would change."""
    if isinstance(value, dict):
        return any(map(_has_crlf, value.values()))
    if isinstance(value, list):
        return any(map(_has_crlf, value))
    return isinstance(value, str) and "\r\n" in value


def _yaml(data: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Indents the items of a list below its key."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow, False)

    text: str = yaml.serialize(
        _node(data, in_list=True), Dumper=Dumper, allow_unicode=True, width=2**31, indent=2
    )
    return text


def _node(value: Any, *, in_list: bool = False) -> Node:
    """Return the YAML node of a value: small leaves on one line, everything else in block style."""
    from yaml.nodes import MappingNode, SequenceNode

    if isinstance(value, dict):
        flow = not value or (not in_list and _is_short(value))
        pairs = [(_scalar_node(key), _node(item)) for key, item in value.items()]
        return MappingNode(_PREFIX + "map", pairs, flow_style=flow)
    if isinstance(value, list):
        items = [_node(item, in_list=True) for item in value]
        return SequenceNode(_PREFIX + "seq", items, flow_style=_is_short(value))
    return _scalar_node(value)


def _is_short(value: dict[str, Any] | list[Any]) -> bool:
    """Tell whether a mapping or list reads well on one line: it has only scalars, and few."""
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    if any(isinstance(part, dict | list) for part in parts):
        return False
    texts = [str(part) for part in parts]
    return sum(len(text) + 2 for text in texts) <= _FLOW_WIDTH and not any(map(_LINE_BREAKS.search, texts))


def _scalar_node(value: Any) -> Node:
    from yaml.nodes import ScalarNode

    if value is None:
        return ScalarNode(_PREFIX + "null", "null")
    if isinstance(value, bool):
        return ScalarNode(_PREFIX + "bool", "true" if value else "false")
    if isinstance(value, int):
        return ScalarNode(_PREFIX + "int", str(value))
    if isinstance(value, float):
        return ScalarNode(_PREFIX + "float", _float(value))
    style = None
    if _LINE_BREAKS.search(value):
        style = "|" if _fits_block(value) else '"'
    elif _AMBIGUOUS.fullmatch(value):
        style = "'"
    return ScalarNode(_PREFIX + "str", value, style=style)


def _fits_block(text: str) -> bool:
    """Tell whether YAML's block style keeps text of several lines as it is."""
    lines = text.split("\n")
    return text[0] not in " \n" and all(line.isprintable() and line == line.rstrip() for line in lines)


def _float(value: float) -> str:
    """Return a float as both YAML 1.1 and 1.2 write it."""
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


_WRITERS: Final = {"yaml": _yaml, "json": _json, "toml": _toml}
