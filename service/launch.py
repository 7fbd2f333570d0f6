"""Run as a script by children.py: ties this process to its parent's life, then becomes the given program.

A script of its own and not a `preexec_fn`, because Python code between fork and exec can hang when the parent has
threads. Arguments: the signal to get when the parent dies, the parent's process id, the program with its arguments.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(death_signal: int, parent: int, program: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    # The parent may have died before the kernel was asked; then nobody would ever stop us.
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606  the program comes from our own supervisor, and no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
