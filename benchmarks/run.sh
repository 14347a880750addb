#!/usr/bin/env bash
# All benchmarks, one after the other; figures are ratios within one run.
set -euo pipefail
cd "$(dirname "$0")"
for name in loop store splits sandbox duplicates label_errors quick training inference; do
    printf '\n== %s\n' "$name"
    ../.venv/bin/python "$name.py"
done
