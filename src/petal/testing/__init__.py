"""Floor 9: what the tests of plugins and pipelines are written with: contracts, fakes, strategies, a pytest plugin.

A lazy table of names, since the pytest plugin beside it is imported by every pytest that finds Petal installed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from petal.testing.adapters import AdapterContract as AdapterContract
    from petal.testing.backends import BackendContract as BackendContract
    from petal.testing.codecs import CodecContract as CodecContract
    from petal.testing.compare import difference as difference
    from petal.testing.fakes import FakeBackend as FakeBackend
    from petal.testing.filesystems import FileSystemContract as FileSystemContract
    from petal.testing.filesystems import FolderFileSystem as FolderFileSystem
    from petal.testing.operators import OperatorContract as OperatorContract
    from petal.testing.operators import assert_operator_contract as assert_operator_contract
    from petal.testing.stores import StoreContract as StoreContract
    from petal.testing.subject import Case as Case

_NAMES = {
    "AdapterContract": "petal.testing.adapters",
    "BackendContract": "petal.testing.backends",
    "Case": "petal.testing.subject",
    "CodecContract": "petal.testing.codecs",
    "FakeBackend": "petal.testing.fakes",
    "FileSystemContract": "petal.testing.filesystems",
    "FolderFileSystem": "petal.testing.filesystems",
    "OperatorContract": "petal.testing.operators",
    "StoreContract": "petal.testing.stores",
    "assert_operator_contract": "petal.testing.operators",
    "difference": "petal.testing.compare",
}
_MODULES = ("strategies",)

__all__ = sorted([*_NAMES, *_MODULES])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _NAMES and name not in _MODULES:
        raise AttributeError(f"module 'petal.testing' has no attribute {name!r}")
    missing = [package for package in ("pytest", "hypothesis") if find_spec(package) is None]
    if missing:
        from petal.errors import EnvironmentNotReady

        raise EnvironmentNotReady(
            f"`petal.testing.{name}` needs {' and '.join(missing)}",
            hint="pip install petal-etl[testing]",
        )
    if name in _MODULES:
        return import_module(f"petal.testing.{name}")
    value = getattr(import_module(_NAMES[name]), name)
    globals()[name] = value
    return value
