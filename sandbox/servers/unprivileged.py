"""``python unprivileged.py DIRECTORY COMMAND ARGUMENT...``: run as root what refuses to be run by root.

The command runs as the account ``nobody``, which exists everywhere, and DIRECTORY with all it holds is given to it. It
may pass through other directories as root may, so DIRECTORY can lie below root's home. For any other user than root
this only runs the command. Linux; needs the standard library only; run it with ``python -I -S``.
"""

import ctypes
import os
import pwd
import signal
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT = 1, 8, 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def main(directory: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        if os.stat(directory).st_uid != nobody.pw_uid:  # noqa: PTH116 - pathlib doubles the start-up time
            _give(directory, nobody)
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        # Of root's privileges one is kept over exec. If that fails, only unreadable parent directories are a problem.
        kept = 1 << CAP_DAC_OVERRIDE
        libc.capset(struct.pack("=Ii", CAPABILITY_VERSION_3, 0), struct.pack("=6I", kept, kept, kept, 0, 0, 0))
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)  # changing the user has cleared what the parent had set
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


def _give(directory: str, owner: pwd.struct_passwd) -> None:
    for folder, _, files in os.walk(directory):
        for path in (folder, *(f"{folder}/{name}" for name in files)):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
