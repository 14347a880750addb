#!/usr/bin/env bash
# All benchmarks, one after the other; figures are ratios within one run.
set -euo pipefail
cd "$(dirname "$0")"
for script in loop store splits sandbox duplicates label_errors quick training \
    inference "inference --precision int8 --images 256"; do
    read -r name options <<<"$script"
    printf '\n== %s\n' "$script"
    # shellcheck disable=SC2086 # options are words
    ../.venv/bin/python "$name.py" $options
done
