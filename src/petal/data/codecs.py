"""The codecs that plugins bring, at work on the wire: values that no annotation describes, and rows of such values (S6.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from petal.code.loader import is_importable, reference
from petal.data.limits import Limits, check_msgpack
from petal.data.wire import Spool
from petal.errors import DataError, EnvironmentNotReady, PetalError, WireError
from petal.interfaces.codec import Codec


class Codecs:
    """The codecs that take part, by the names that stand beside their bytes.

    Args:
        found: The codecs; the first one that takes a value writes it.
    """

    def __init__(self, found: Iterable[Codec]) -> None:
        self._by_name = {codec.name: codec for codec in found}

    def know(self, mark: Mapping[str, Any]) -> bool:
        """Whether all codecs that wrote something take part.

        Args:
            mark: How it was written, as :func:`petal.data.values.encode_port` says.
        """
        forms = [str(form) for form, _ in mark.get("rows", ())]
        names = {form.removeprefix("c:") for form in forms if form.startswith("c:")}
        return names | ({mark["codec"]} if "codec" in mark else set()) <= self._by_name.keys()

    def references(self) -> list[dict[str, Any]]:
        """Say by which classes another process makes them; one whose class it cannot find is left out."""
        kinds = [type(codec) for codec in self._by_name.values()]
        return [msgspec.to_builtins(reference(kind)) for kind in kinds if is_importable(kind) is None]

    # -- one value --------------------------------------------------------------------------------------------

    def write(self, value: Any, spool: Spool, where: str) -> dict[str, Any] | None:
        """Add a value to the attachments and say how it was written; None where no codec takes it.

        Raises:
            DataError: A codec takes it, and fails.
        """
        codec = self._for([value])
        if codec is None:
            return None
        return {"codec": codec.name, "part": spool.add(_encoded(codec, value, where))}

    def read(self, mark: Mapping[str, Any], part: memoryview, where: str) -> Any:
        """Return a value that :meth:`write` wrote.

        Raises:
            EnvironmentNotReady: The codec is not here.
            WireError: These are no bytes that it wrote.
        """
        return _decoded(self._named(mark["codec"], where), part, where)

    # -- rows -------------------------------------------------------------------------------------------------

    def write_rows(self, rows: list[Any], spool: Spool, where: str) -> tuple[str, int] | None:
        """Add rows to the attachments and say how, None where no one codec takes them all.

        Raises:
            DataError: A codec takes them, and fails.
        """
        codec = self._for(rows)
        if codec is None:
            return None
        data = msgspec.msgpack.encode([_encoded(codec, row, where) for row in rows])
        return f"c:{codec.name}", spool.add(data)

    def read_rows(self, form: str, part: memoryview, where: str, limits: Limits | None) -> list[Any]:
        """Return rows that :meth:`write_rows` wrote.

        Raises:
            EnvironmentNotReady: The codec is not here.
            WireError: These are no bytes that it wrote.
        """
        codec = self._named(form.removeprefix("c:"), where)
        if limits is not None:
            check_msgpack(part, limits)
        try:
            rows = msgspec.msgpack.decode(part, type=list[bytes])
        except (msgspec.MsgspecError, ValueError) as error:
            raise WireError(f"{where} cannot be read: {error!s:.200}") from None
        return [_decoded(codec, memoryview(row), where) for row in rows]

    def _for(self, values: Sequence[Any]) -> Codec | None:
        for codec in self._by_name.values():
            if values and all(map(codec.takes, values)):
                return codec
        return None

    def _named(self, name: Any, where: str) -> Codec:
        codec = self._by_name.get(str(name))
        if codec is None:
            raise EnvironmentNotReady(
                f"{where} was written by the codec `{name}`, which is not here",
                hint="install the plugin that brings it here too, and name it under `plugins:`",
                code="worker-lacks",
            )
        return codec


def _encoded(codec: Codec, value: Any, where: str) -> bytes:
    try:
        return codec.encode(value)
    except PetalError:
        raise
    except Exception as error:
        raise DataError(
            f"{where}: codec `{codec.name}` cannot write one {type(value).__name__}: {type(error).__name__}: {error}",
            hint="the plugin that brings it is at fault; `petal plugins` shows its version",
        ) from error


def _decoded(codec: Codec, data: memoryview, where: str) -> Any:
    try:
        return codec.decode(data)
    except PetalError:
        raise
    except Exception as error:
        raise WireError(
            f"{where}: codec `{codec.name}` cannot read its bytes: {type(error).__name__}: {error}"
        ) from error
