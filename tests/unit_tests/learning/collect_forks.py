"""Imports once, then collects in a forked process for each line of input; see test_collect_killed.

Prints `started PID`, what the last run lost, each acknowledged number of samples, and `ended`.
"""

from __future__ import annotations

import os
import sys

from bestroute._litellm import litellm
from bestroute.learning.collecting.collect import collect
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.collecting.workload import plan


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def run(prompts_path: str, pool: str, output: str, samples: int) -> None:
    prompts = read_prompts(prompts_path)
    lost = plan(prompts, pool, output, samples=samples).lost
    say("lost", lost.calls, lost.cost)
    collect(
        prompts, pool, output, samples=samples, progress=lambda _, done, total: say("kept", done)
    )


def main() -> None:
    litellm()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(*sys.argv[1:], samples=int(line))
            os._exit(0)
        say("started", pid)
        os.waitpid(pid, 0)
        say("ended")


if __name__ == "__main__":
    main()
