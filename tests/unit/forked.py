"""Trouble from outside in the middle of real work: a forked child whose every audited call can be interfered with."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections.abc import Callable
from typing import Any

Hook = Callable[[str, tuple[Any, ...]], None]


def run_in_child(work: Callable[[], object], hook: Hook) -> BaseException | int | None:
    """What ``work`` raised in a forked child, the number of the signal that killed it, or None.

    ``hook(event, arguments)`` is called before everything Python audits: opening, renaming, removing files and so on.
    It may raise, change files, or kill the child.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Libraries that other tests use keep threads waiting; the child has no need of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(hook)
            work()
            outcome: BaseException | None = None
        except BaseException as error:
            outcome = error
        os.write(writing, pickle.dumps(outcome))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return -code if code < 0 else pickle.loads(said)  # noqa: S301 - our own child wrote it
