"""Petal: say what an ETL pipeline does, and choose where each step runs without touching the step.

A lazy table of names: ``import petal`` reads no file and imports no heavy package. The types are in ``__init__.pyi``.
"""

from importlib import import_module

_NAMES = {
    "Batches": "petal.spec.views",
    "Check": "petal.spec.views",
    "LISTS": "petal.spec.views",
    "READS": "petal.spec.views",
    "WRITES": "petal.spec.views",
    "URL": "petal.spec.url",
    "glob_pattern": "petal.spec.url",
    "Context": "petal.spec.context",
    "Pipeline": "petal.app.pipeline",
    "Session": "petal.app.session",
    "node": "petal.authoring.pipeline",
    "operator": "petal.authoring.decorators",
    "remote": "petal.authoring.decorators",
    "cache": "petal.authoring.decorators",
    "retry": "petal.authoring.decorators",
    "timeout": "petal.authoring.decorators",
    "batch": "petal.authoring.decorators",
    "open_input": "petal.data.filesystems",
    "open_output": "petal.data.files",
    "filesystem": "petal.data.filesystems",
    "open_store": "petal.data.stores",
    "Claims": "petal.data.claims",
    "packing": "petal.code",  # a module
    "split": "petal.data.split",
    "hookimpl": "petal.plugin.markers",
    "register_plugin": "petal.plugin.markers",
    "Backend": "petal.interfaces.backend",
    "BackendSession": "petal.interfaces.backend",
    "Capabilities": "petal.interfaces.backend",
    "Payload": "petal.interfaces.backend",
    "Reply": "petal.interfaces.backend",
    "Task": "petal.interfaces.backend",
    "Store": "petal.interfaces.store",
    "AddingStore": "petal.interfaces.store",
    "StoreStats": "petal.interfaces.store",
    "FileSystem": "petal.interfaces.filesystem",
    "Description": "petal.interfaces.filesystem",
    "Upload": "petal.interfaces.filesystem",
    "Diagnostic": "petal.spec.diagnostic",
    "Severity": "petal.spec.diagnostic",
    "Plan": "petal.spec.plan",
    "PipelineSpec": "petal.spec.pipeline",
    "Status": "petal.spec.event",
    "PetalError": "petal.errors",
    "DefinitionError": "petal.errors",
    "UsageError": "petal.errors",
    "InvalidPipeline": "petal.errors",
    "EnvironmentNotReady": "petal.errors",
    "DataError": "petal.errors",
    "RowError": "petal.errors",
    "StreamConsumed": "petal.errors",
    "OutputError": "petal.errors",
    "NodeFailed": "petal.errors",
    "RemoteError": "petal.errors",
    "TaskLost": "petal.errors",
    "TimedOut": "petal.errors",
    "ClaimLost": "petal.errors",
    "ClaimExpired": "petal.errors",
    "PayloadCorrupt": "petal.errors",
    "WorkerDied": "petal.errors",
    "WireError": "petal.errors",
    "RunInterrupted": "petal.errors",
}

__all__ = sorted([*_NAMES, "__version__"])  # noqa: PLE0605
__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> object:
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'petal' has no attribute {name!r}")
    found = import_module(module)
    value = getattr(found, name) if hasattr(found, name) else import_module(f"{module}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
