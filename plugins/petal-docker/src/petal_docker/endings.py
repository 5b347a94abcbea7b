"""Say why a container ended without a reply: memory, a signal, or an exit code."""

from __future__ import annotations

import re
import signal

from petal import EnvironmentNotReady, PetalError, RemoteError, WorkerDied
from petal_docker.container import Ending

#: Characters of what a program wrote to standard error that its error shows.
_SHOWN = 4000
#: What the kernel adds to the number of the signal that killed a process.
_KILLED = 128
#: What the engine's init process writes when it cannot start a program.
_UNSTARTED = re.compile(r"\[FATAL tini \(\d+\)\] exec (.+) failed: (.+)")


def died(ending: Ending, memory: str | int, output: str, what: str = "its container") -> WorkerDied:
    """Return the error of a task whose container ended: what the task has done is not known.

    Args:
        ending: How it ended.
        memory: Its limit of memory, as the settings say it.
        output: What it had written.
        what: What ended, for the message.
    """
    if ending.out_of_memory:
        return WorkerDied(
            f"{what} was killed: it needed more than its {memory} of memory",
            kind="out_of_memory",
            output=output,
            hint="give it more (`mem_limit`), or less to do at a time (`batch`)",
        )
    name = _signal(ending.code)
    text = f"was killed by {name}" if name else f"exited with code {ending.code}"
    if ending.error:
        text += f" ({ending.error})"
    return WorkerDied(f"{what} {text}", output=output)


def failed(ending: Ending, memory: str | int, output: str, program: str) -> PetalError | None:
    """Return the error of a program that has ended; None if it did what it was to do.

    An exit code is the program's own word, and known; what killed it was somebody else.
    """
    if not ending.code:
        return None
    if ending.out_of_memory or _signal(ending.code):
        return died(ending, memory, output, f"the container of {program}")
    return RemoteError(
        f"{program} ended with exit code {ending.code}",
        traceback=output[-_SHOWN:].rstrip(),
        hint="what it wrote to standard error is shown; 0 is success",
    )


def unstarted(ending: Ending, output: str, image: str) -> EnvironmentNotReady | None:
    """Return the error of a container whose program could not even be started: the init process says so, and ends.

    Args:
        ending: How it ended.
        output: What was written to standard error.
        image: What the settings call the image.
    """
    found = _UNSTARTED.match(output) if ending.code in (126, 127) else None
    if found is None:
        return None
    return EnvironmentNotReady(
        f"the image `{image}` cannot start `{found[1]}`: {found[2]}",
        hint="name a program that it holds: a path, a name on its PATH, or a `.py` file of its working directory",
        code="no-program",
    )


def _signal(code: int) -> str:
    """Return the name and number of the signal that an exit code tells of, "" if it tells of none."""
    try:
        found = signal.Signals(code - _KILLED)
    except ValueError:
        return ""
    return f"{found.name} ({found.value})"
