"""Say what a worker is: the node that `petal doctor` runs through each backend."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


def report() -> dict[str, str]:
    """Return the versions of Python and Petal, the digest of Petal's code, and the machine's name."""
    import petal

    return {
        "python": platform.python_version(),
        "petal": petal.__version__,
        "code": digest(),
        "host": platform.node(),
        "pid": str(os.getpid()),
    }


def digest() -> str:
    """Return a short digest of Petal's own code."""
    import petal

    root = Path(petal.__file__).parent
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(str(file.relative_to(root)).encode())
        total.update(file.read_bytes())
    return total.hexdigest()[:12]
