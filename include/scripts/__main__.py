"""``python -m include.scripts <system> <command>``: any step of any system by hand, without Airflow."""

import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType

import include
from include import scripts


def main(arguments: Sequence[str]) -> int:
    """Hand over to ``include/scripts/<system>.py``; its exit status."""
    systems = sorted(_names(scripts) & _names(include))
    asked_for_help = list(arguments[:1]) in (["-h"], ["--help"])
    if not arguments or arguments[0] not in systems:
        usage = "Usage: python -m include.scripts SYSTEM COMMAND [options]; SYSTEM --help lists its commands.\n"
        stream = sys.stdout if asked_for_help else sys.stderr
        stream.write(f"{usage}Systems: {', '.join(systems)}\n")
        return 0 if asked_for_help else 2
    progress = logging.StreamHandler()
    # The command itself prints its error, in two lines.
    progress.addFilter(lambda record: record.levelno < logging.ERROR)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=[progress])
    system = importlib.import_module(f"include.scripts.{arguments[0]}")
    return int(system.main(arguments[1:], environment=os.environ, now=datetime.now(UTC)))


def _names(package: ModuleType) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(package.__path__)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
