"""``python -m sandbox up | day | demo | screenshots``: the outside world of the five systems on this machine."""

import json
import shlex
import signal
import sys
from argparse import ArgumentParser
from datetime import date
from pathlib import Path

from sandbox import demo, screenshots
from sandbox.airflow import REPOSITORY
from sandbox.commercial_log.estate import CommercialLog


def main() -> int:
    if sys.argv[1:2] == ["demo"]:
        return demo.main(sys.argv[2:])
    if sys.argv[1:2] == ["screenshots"]:
        return screenshots.main(sys.argv[2:])
    parser = ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--state", type=Path, default=REPOSITORY / ".sandbox")
    parser.add_argument("--scale", type=float, default=1.0)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the servers, print their AIRFLOW_CONN_* and wait for Ctrl-C")
    move = commands.add_parser("day", help="let traffic save the workbook of a day on the share")
    move.add_argument("date", type=date.fromisoformat)
    commands.add_parser("demo", help="run everything in an Airflow (see: demo --help)")
    commands.add_parser("screenshots", help="take the documents' pictures anew (see: screenshots --help)")
    options = parser.parse_args()
    world = CommercialLog(options.state / "commercial_log", scale=options.scale)
    if options.command == "day":
        world.move_to(options.date)
        print(f"{world.share} holds the workbook of {options.date}")
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with world.running():
        for name, connection in world.connections().items():
            print(f"export AIRFLOW_CONN_{name.upper()}={shlex.quote(json.dumps(connection))}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
