"""Runs a command that ends with its parent: ``leash.py PARENT_PID COMMAND...`` becomes COMMAND, on Linux with a leash.

The kernel sends SIGTERM to COMMAND when the thread that started it ends, however that happens, ``kill -9`` included
(prctl(2), PR_SET_PDEATHSIG; it survives execve). Run as a script of the standard library alone, so that nothing runs between
fork and exec of a process with threads. The process id stays the same. Elsewhere than on Linux there is no leash: a broker whose
parent was killed stays, and the next start names its process id.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command; ends at once where the parent is gone already."""
    parent, *command = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a broker opens a file for each partition
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - becoming the command is what this is for


if __name__ == "__main__":
    main()
