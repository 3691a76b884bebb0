"""``python -m sandbox up | day | demo | screenshots``: the outside world of the five systems on this machine."""

import json
import shlex
import signal
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from sandbox import demo, screenshots
from sandbox.airflow import REPOSITORY
from sandbox.world import SYSTEMS, worlds


def main() -> int:
    if sys.argv[1:2] == ["demo"]:
        return demo.main(sys.argv[2:])
    if sys.argv[1:2] == ["screenshots"]:
        return screenshots.main(sys.argv[2:])
    parser = ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--state", type=Path, default=REPOSITORY / ".sandbox")
    parser.add_argument("--scale", type=float, default=1.0)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the servers, print their AIRFLOW_CONN_* and wait for Ctrl-C")
    up.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"all, or some of: {', '.join(SYSTEMS)}")
    move = commands.add_parser("day", help="let the outside world move on to a day")
    move.add_argument("date", type=date.fromisoformat)
    commands.add_parser("demo", help="run everything in an Airflow (see: demo --help)")
    commands.add_parser("screenshots", help="take the documents' pictures anew (see: screenshots --help)")
    options = parser.parse_args()
    chosen = getattr(options, "systems", None) or list(SYSTEMS)
    if unknown := set(chosen) - set(SYSTEMS):
        parser.error(f"there is no system {', '.join(sorted(unknown))}; there are: {', '.join(SYSTEMS)}")
    systems = worlds(options.state, chosen, scale=options.scale)
    if options.command == "day":
        for world in systems:
            world.move_to(options.date)
        print(f"the world of {options.state} is that of {options.date}")
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with ExitStack() as stack:
        for world in systems:
            stack.enter_context(world.running())
            for name, connection in world.connections().items():
                print(f"export AIRFLOW_CONN_{name.upper()}={shlex.quote(json.dumps(connection))}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
