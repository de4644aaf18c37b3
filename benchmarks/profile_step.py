"""Profile our training step by operation with torch's profiler, over 10 steps.

    python benchmarks/profile_step.py [step-2d | step-2d-fast | step-3d | step-3d-fast]

Writes ``benchmarks/results/profile_<case>.txt``.
"""

import argparse
import os
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from smoothmorph.pipeline.cohorts.memory_allocator import keep_freed_memory
from speed.cases import CASES
from speed.sides import Place

STEPS, LINES = 10, 25


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    steps = [name for name, case in CASES.items() if case.training and "cpu" in case.devices]
    parser.add_argument("case", nargs="?", default="step-2d-fast", choices=steps)
    case = CASES[parser.parse_args().case]
    keep_freed_memory()
    step = case.sides(Place(torch.device("cpu"), os.cpu_count() or 1)).ours
    step()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(STEPS):
            step()
    table = recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=LINES, max_name_column_width=45)
    text = "\n".join(line.rstrip() for line in table.splitlines())
    path = Path(__file__).parent / "results" / f"profile_{case.name}.txt"
    path.write_text(f"{case.title}: {STEPS} steps\n{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
