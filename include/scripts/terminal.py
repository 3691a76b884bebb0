"""What the operators' commands of all systems share: how they are declared, places, settings, results, exit status.

Exit status: 0 done, 1 failed (or a check found something), 2 the request itself has to be changed. Nothing ever asks
back. Results go to standard output, errors as two lines (what, next step) to standard error.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar

from include.common.objectstores import FolderStore
from include.common.results import StepResult
from include.common.settings import read_settings
from include.common.tables import render_table, render_value, words
from include.errors import PipelineError, RequestRefused

Kind = TypeVar("Kind")


class Call:
    """One command as it was given: its ``options``, and the moment ``now``, which has a zone."""

    def __init__(
        self, system: str, zone: tzinfo, options: argparse.Namespace, environment: Mapping[str, str], now: datetime
    ) -> None:
        self.system = system
        self.options = options
        self.environment = environment
        self.now = now
        self.today = now.astimezone(zone).date()
        self.user = environment.get("USER") or "command line"

    def path(self, place: str) -> Path:
        """Where a place is. Raises RequestRefused if nobody said so."""
        given = getattr(self.options, place)
        if not given:
            raise RequestRefused(
                f"{self.system}: nobody said where the {place.replace('_', ' ')} is.",
                next_step=f"Give {_flag(place)}, or set {_variable(self.system, place)}.",
            )
        return Path(given)

    def folder(self, place: str, *, if_new: str) -> Path:
        """A place that is a folder and there; ``if_new`` tells what makes it. Raises RequestRefused if it is not there.

        Every step makes the folders it needs: below a mistyped one as well.
        """
        folder = self.path(place)
        if not folder.is_dir():
            raise RequestRefused(
                f"{self.system}: there is no folder {folder}.", next_step=f"Correct the path, or {if_new}."
            )
        return folder

    def settings(self, kind: type[Kind]) -> Kind:
        """The system's settings.

        Raises RequestRefused if nobody gave them: defaults would delete backups that the installation keeps, or replace
        months that it protects. Raises ContractViolation as ``read_settings`` does.
        """
        if not self.options.settings:
            raise RequestRefused(
                f"{self.system}: nobody said what the settings are.",
                next_step=f"Give --settings, or set {_variable(self.system, 'settings')}: what the Airflow variable "
                f"{self.system}_settings has, or '{{}}' if there is none.",
            )
        return read_settings(kind, self.options.settings, system=self.system)


# Prints what it has to tell, or returns it; a number is the exit status.
Command = Callable[[Call], StepResult | int | None]
# Adds itself to a command, or to a group of options.
Option = Callable[[Any], object]


def option(*names: str, **how: Any) -> Option:
    """An option of commands, described as for ``ArgumentParser.add_argument``."""
    return methodcaller("add_argument", *names, **how)


def flag(name: str, text: str) -> Option:
    """An option without a value."""
    return option(name, action="store_true", help=text)


def day_option(name: str, text: str) -> Option:
    """An option that is a day."""
    return option(name, type=_day, metavar="YYYY-MM-DD", help=text)


def backup_folder(text: str = "where the backups lie", *, required: bool = True) -> Option:
    """The option ``--backup-folder``; what it names is ``options.store``."""
    return option(
        "--backup-folder",
        dest="store",
        type=lambda folder: FolderStore(Path(folder)),
        metavar="FOLDER",
        required=required,
        help=text,
    )


def one_of(*options: Option, required: bool = False) -> Option:
    """Options of which a command takes one at most."""

    def add(command: argparse.ArgumentParser) -> None:
        group = command.add_mutually_exclusive_group(required=required)
        for each in options:
            each(group)

    return add


BACKUP_NAME = option("--name", metavar="BACKUP", help="one that the command backups lists; default the newest")


class CommandLine:
    """The commands of one system, in the order in which they are declared; to call it runs one of them.

    ``places`` are the files and folders all of them are about, with what is said of each: ``lake`` is the option
    ``--lake``, or else ``<SYSTEM>_LAKE`` in the environment.
    """

    def __init__(self, system: str, text: str, *, zone: tzinfo, places: Mapping[str, str]) -> None:
        self._system, self._zone = system, zone
        places = {**places, "settings": "a JSON object, as in the Airflow variable"}
        self._variables = {name: _variable(system, name) for name in places}
        self._places = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
        group = self._places.add_argument_group("places")
        for name, about in places.items():
            group.add_argument(_flag(name), help=f"{about} (or {self._variables[name]})")
        self._parser = argparse.ArgumentParser(
            prog=f"python -m include.scripts {system}",
            description=text,
            epilog=f"What no option names comes from the environment: {', '.join(self._variables.values())}. There is "
            "no built-in path.",
        )
        self._commands = self._parser.add_subparsers(metavar="COMMAND", required=True)

    def command(self, name: str, text: str, *options: Option) -> Callable[[Command], Command]:
        """Declare a command: what it is called, what it does, what it takes."""

        def declare(run: Command) -> Command:
            command = self._commands.add_parser(
                name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[self._places]
            )
            for each in options:
                each(command)
            command.set_defaults(run=run)
            return run

        return declare

    def __call__(self, arguments: Sequence[str], *, environment: Mapping[str, str], now: datetime) -> int:
        """Run one command; its exit status. Raises SystemExit as argparse does, with 2 for wrong options."""
        given = {name: environment.get(variable) for name, variable in self._variables.items()}
        options = self._parser.parse_args(arguments, argparse.Namespace(**given))
        call = Call(self._system, self._zone, options, environment, now)
        return exit_status(lambda: options.run(call))


def exit_status(command: Callable[[], StepResult | int | None]) -> int:
    """Run a command, print what it returns and say how it went, in one of the three numbers."""
    try:
        outcome = command()
    except PipelineError as error:
        print(f"FAILED: {error.what}\nNext step: {error.next_step}", file=sys.stderr)
        return 2 if isinstance(error, RequestRefused) else 1
    if isinstance(outcome, StepResult):
        print_result(outcome)
        return 0
    return outcome or 0


def count(text: str) -> int:
    """Type of an option that is a number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 0 or more")
    return int(text)


def print_result(result: StepResult) -> None:
    """What a step did, one line per fact, and its warnings."""
    rows = [("where", result.where), ("read", render_value(result.read)), ("written", render_value(result.written))]
    rows += [(name, render_value(getattr(result, name))) for name in ("rejected", "bytes") if getattr(result, name)]
    for name, value in result.facts.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            rows += [
                (words(name) if not number else "", f"{key}: {render_value(each)}")
                for number, (key, each) in enumerate(value.items())
            ]
        else:
            rows.append((words(name), render_value(value)))
    print(render_table((), rows))
    for warning in result.warnings:
        print(f"WARNING: {warning}")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys under their names."""
    if not rows:
        return "none"
    return render_table([words(name) for name in rows[0]], [list(row.values()) for row in rows])


def _day(text: str) -> date:
    """Type of an option that is a day."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # Python takes 20250828 and 2025-W35-4 as well.
    if found is None or found.isoformat() != text:
        raise argparse.ArgumentTypeError(f"'{text}' is not a day like 2025-08-28")
    return found


def _flag(place: str) -> str:
    return f"--{place.replace('_', '-')}"


def _variable(system: str, place: str) -> str:
    return f"{system}_{place}".upper()
