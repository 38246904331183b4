"""Collects and scores on a Ray cluster of two workers on loopback, a job a line of input.

Each job is the JSON of `{"do": ..., ...}`; the answer is one line of JSON: the result or the error.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import ray

from bestroute import ModelPool
from bestroute.cli.recording import install_recording
from bestroute.errors import BestRouteError
from bestroute.learning.collecting.collect import collect
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.desk import RayEngine
from bestroute.learning.samples import read_samples
from bestroute.learning.scoring.score import score


def collected(*, prompts: str, pool: str, output: str, **options: Any) -> Any:
    models = ModelPool.from_yaml(pool)
    engine = RayEngine(workers=2, setup=partial(install_recording, models, None))
    return collect(read_prompts(prompts), models, output, engine=engine, **options)


def scored(*, samples: str, output: str, **options: Any) -> Any:
    return score(read_samples(samples), output, engine=RayEngine(workers=2), **options)


def told() -> dict[str, Any]:
    return {"logs": ray._private.worker._global_node.get_logs_dir_path()}


def main() -> None:
    # Its own port of the object store's plasma and all else is on this address.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    for line in sys.stdin:
        job = json.loads(line)
        do = {"collect": collected, "score": scored, "tell": told}[job.pop("do")]
        try:
            done = do(**job)
            answer = done if isinstance(done, dict) else done.model_dump(mode="json")
        except BestRouteError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
