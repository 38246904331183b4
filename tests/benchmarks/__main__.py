"""Speed, side by side with what it is measured against.

`python -m tests.benchmarks [SUITE ...] [--json out.json] [--write]`: every suite in a process of
its own, so that none warms another up. Ratios hold on any machine, times only on the one they
were taken on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import pages
from tests.benchmarks.rows import Row, read, table, write

SUITES = ("start", "decision", "encoders", "rewards", "overhead", "blocking", "growth", "soak")
PAGE = Path("docs/performance.md")


def run(suite: str) -> list[Row]:
    """The rows of one suite; its own table goes to standard error, where one may watch."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"tests.benchmarks.{suite}", "--json", str(out)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return read(out)


def main() -> None:
    """Run the suites, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"Any of {', '.join(SUITES)}.")
    parser.add_argument("--json", type=Path, help="Write the rows.")
    parser.add_argument("--write", action="store_true", help=f"Write the tables into {PAGE}.")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    found = {suite: run(suite) for suite in arguments.suites or SUITES}
    rows = [row for each in found.values() for row in each]
    sys.stdout.write(table(rows) + "\n")
    if arguments.json is not None:
        write(rows, arguments.json)
    for suite, each in found.items() if arguments.write else ():
        pages.write(suite, table(each), PAGE)


if __name__ == "__main__":
    main()
