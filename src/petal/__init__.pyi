# The public names of Petal with their types. `__init__.py` finds them lazily, in a table that
# tests/test_house.py holds against this list.

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias, TypeVar

from petal.app.pipeline import Pipeline as Pipeline
from petal.app.session import Session as Session
from petal.authoring.decorators import batch as batch
from petal.authoring.decorators import cache as cache
from petal.authoring.decorators import operator as operator
from petal.authoring.decorators import remote as remote
from petal.authoring.decorators import retry as retry
from petal.authoring.decorators import timeout as timeout
from petal.authoring.pipeline import node as node
from petal.code import packing as packing
from petal.data.claims import Claims as Claims
from petal.data.files import open_output as open_output
from petal.data.filesystems import filesystem as filesystem
from petal.data.filesystems import open_input as open_input
from petal.data.split import split as split
from petal.data.stores import open_store as open_store
from petal.errors import ClaimExpired as ClaimExpired
from petal.errors import ClaimLost as ClaimLost
from petal.errors import DataError as DataError
from petal.errors import DefinitionError as DefinitionError
from petal.errors import EnvironmentNotReady as EnvironmentNotReady
from petal.errors import InvalidPipeline as InvalidPipeline
from petal.errors import NodeFailed as NodeFailed
from petal.errors import OutputError as OutputError
from petal.errors import PayloadCorrupt as PayloadCorrupt
from petal.errors import PetalError as PetalError
from petal.errors import RemoteError as RemoteError
from petal.errors import RowError as RowError
from petal.errors import RunInterrupted as RunInterrupted
from petal.errors import StreamConsumed as StreamConsumed
from petal.errors import TaskLost as TaskLost
from petal.errors import TimedOut as TimedOut
from petal.errors import UsageError as UsageError
from petal.errors import WireError as WireError
from petal.errors import WorkerDied as WorkerDied
from petal.interfaces.backend import Backend as Backend
from petal.interfaces.backend import BackendSession as BackendSession
from petal.interfaces.backend import Capabilities as Capabilities
from petal.interfaces.backend import Payload as Payload
from petal.interfaces.backend import Reply as Reply
from petal.interfaces.backend import Task as Task
from petal.interfaces.filesystem import Description as Description
from petal.interfaces.filesystem import FileSystem as FileSystem
from petal.interfaces.filesystem import Upload as Upload
from petal.interfaces.store import AddingStore as AddingStore
from petal.interfaces.store import Store as Store
from petal.interfaces.store import StoreStats as StoreStats
from petal.plugin.markers import hookimpl as hookimpl
from petal.plugin.markers import register_plugin as register_plugin
from petal.spec.context import Context as Context
from petal.spec.diagnostic import Diagnostic as Diagnostic
from petal.spec.diagnostic import Severity as Severity
from petal.spec.event import Status as Status
from petal.spec.pipeline import PipelineSpec as PipelineSpec
from petal.spec.plan import Plan as Plan
from petal.spec.url import URL as URL
from petal.spec.url import glob_pattern as glob_pattern
from petal.spec.views import LISTS as LISTS
from petal.spec.views import READS as READS
from petal.spec.views import WRITES as WRITES
from petal.spec.views import Check as Check

_T_co = TypeVar("_T_co", covariant=True)

class _Of(Protocol[_T_co]):
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...

# An iterator of Polars batches. The union lets checkers accept `yield series` in a generator that says it gives
# Batches[str]: of a protocol alone they would take `str` for the type of what is yielded.
Batches: TypeAlias = Iterator[Any] | _Of[_T_co]

__version__: str
