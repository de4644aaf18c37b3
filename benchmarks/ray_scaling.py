"""Measure the gain of a second worker: time of a small study on one and on two workers, with and without Ray.

    python benchmarks/ray_scaling.py [--epochs 10] [--repeats 3]

The study is four equal trials on the built-in cohort at 160x192; each worker has one thread. With Ray, there are one or
two nodes of one CPU on 127.0.0.1; without, one or two processes. The four cases alternate, and medians are reported.
Two times are taken: the whole run (with Ray, the cluster runs already), and the part from the first training step on,
without the start of the processes. Keep the machine quiet for the 25 minutes that this takes.

    efficiency = seconds on one worker / (2 x seconds on two)
"""

import argparse
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pandas as pd

from smoothmorph.experiments.run.distributed.executor import RayExecutor
from smoothmorph.experiments.run.executors import Event, Executor, Job, LocalExecutor
from smoothmorph.pipeline.settings.schema import TrialSettings, parse
from smoothmorph.pipeline.trial import run_trial

TRIALS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="epochs of 100 steps in each trial")
    parser.add_argument("--repeats", type=int, default=3, help="how often each case is measured")
    arguments = parser.parse_args()
    # Ray reads these at import: it listens on 127.0.0.1 only and leaves nothing in the home folder.
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    rows = []
    for repeat in range(1, arguments.repeats + 1):
        for kind, workers in product(("ray", "local"), (1, 2)):
            with executor(kind, workers) as one:
                rows.append((kind, workers, *timed(one, arguments.epochs)))
            print(f"repeat {repeat}: {kind}, {workers} workers: {rows[-1][2]:.1f} s", flush=True)
    seconds = pd.DataFrame(rows, columns=["kind", "workers", "whole", "training"])
    medians = seconds.groupby(["kind", "workers"]).median().unstack("workers")
    for part in ("whole", "training"):
        medians[part, "efficiency"] = medians[part, 1] / (2 * medians[part, 2])
    print(medians.sort_index(axis=1, level=0, sort_remaining=False).round(3).to_string())


@contextlib.contextmanager
def executor(kind: str, workers: int) -> Iterator[Executor]:
    if kind == "local":
        yield LocalExecutor(workers)
        return
    RayExecutor()  # sets the variables that Ray reads at import
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "num_cpus": 1}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(workers - 1):
            cluster.add_node(**node)
        yield RayExecutor(cluster.address)
    finally:
        cluster.shutdown()


def timed(executor: Executor, epochs: int) -> tuple[float, float]:
    """Run four trials that differ only in their seed; return the seconds of the run and since its first step."""
    folder = Path(tempfile.mkdtemp())
    jobs = [Job(str(seed), settings(seed, epochs), folder / str(seed), None) for seed in range(TRIALS)]
    first: list[float] = []

    def listen(event: Event) -> None:
        if event.kind in ("failed", "interrupted"):
            raise RuntimeError(f"trial {event.trial} {event.kind}: {event.reason}")
        if event.kind == "progress" and event.progress.stage == "training" and not first:
            first.append(time.perf_counter())

    begin = time.perf_counter()
    executor.run(jobs, run_trial, listen)
    end = time.perf_counter()
    shutil.rmtree(folder)
    return end - begin, end - first[0]


def settings(seed: int, epochs: int) -> TrialSettings:
    values = {
        "cohort": {"subjects": 12, "size": [160, 192]},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "pairs": {"validation": 4, "test": 4},
        "training": {"epochs": epochs, "steps_per_epoch": 100},
        "compute": {"device": "cpu", "threads": 1},
        "seed": seed,
    }
    return parse(TrialSettings, values, "benchmark")


if __name__ == "__main__":
    main()
