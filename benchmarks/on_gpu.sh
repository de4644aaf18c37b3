#!/usr/bin/env bash
# What is unproven or unmeasured on a GPU, in one call: benchmarks/on_gpu.sh [FOLDER FOR THE RESULTS]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out="${1:-runs/on_gpu}"
mkdir -p "$out"
python3 -m venv --system-site-packages .venv-gpu  # keeps the torch that fits the machine's driver
.venv-gpu/bin/pip install --quiet -e '.[dev]' 2>&1 | tail -n 3
.venv-gpu/bin/python -m pytest -q tests/test_gpu.py 2>&1 | tee "$out/tests.txt" | tail -n 20
.venv-gpu/bin/python benchmarks/bench.py --device cuda --out "$out/bench_gpu.json" 2>&1 | tee "$out/bench.txt"
