"""``python -m benchmarks [--quick] [name ...]``: the data jobs against the tool's limit and the usual way."""

import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

from benchmarks.report import Report
from include.common import locks

SUITES = ("commercial_log", "cvas_user_base", "cvas_fetch", "cvas_load", "cvas_view", "latency")
RESULTS = Path(__file__).with_name("results.md")
CACHE = Path(__file__).resolve().parents[1] / ".sandbox" / "bench"


def main() -> int:
    """Measure and judge; 1 if a goal was missed."""
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"what to measure, of: {', '.join(SUITES)}; or all")
    parser.add_argument("--quick", action="store_true", help="few repetitions, the smallest history, no growth")
    parser.add_argument("--cache", type=Path, default=CACHE, help="keeps the databases it makes (about 9 GB in full)")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {RESULTS.name} as well")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SUITES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    report, kept = Report(), True
    report.say("# Benchmarks")
    report.say()
    report.machine("apache-airflow-core", "duckdb", "openpyxl", "pandas", "polars", "psycopg", "python-calamine")
    report.say("Medians; each repetition is a process of its own, the ways take turns. Ratios are of CPU time.")
    report.say()
    with locks.hold(options.cache / "lock", "benchmarks"):  # two at once would measure each other
        for name in SUITES:
            if not options.names or name in options.names:
                suite = import_module(f"benchmarks.{name}")
                report.say(f"## {name}")
                report.say()
                suite.run(report, options.cache, quick=options.quick)
                kept &= report.verdict(suite.GOALS)
    if options.write:
        report.write(RESULTS)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
