#!/usr/bin/env bash
# What one GPU does, in at most 8 minutes (or SECONDS) and one JSON; at toy size where there is none.
#
#     benchmarks/gpu_check.sh [gpu_check.json [SECONDS]]
#
# From a bare checkout: it takes $PYTHON, else .venv of the checkout, else python3, to which it adds the wheels in the
# folder wheels, if there is one, for this call alone (nothing is downloaded).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
output=${1:-gpu_check.json}
case $output in /*) ;; *) output=$PWD/$output ;; esac
begun=$SECONDS
limit=${2-480}
if ! [[ $limit =~ ^[1-9][0-9]{1,4}$ ]] || [ "$limit" -lt 60 ]; then
  echo "Error: SECONDS is a whole number of at least 60, not '$limit'." >&2
  exit 2
fi

if [ -n "${PYTHON:-}" ]; then
  python=$PYTHON
elif [ -x "$root/.venv/bin/python" ]; then
  python=$root/.venv/bin/python
elif compgen -G "$root/wheels/*.whl" > /dev/null; then
  # beside python3 and not in an environment of their own: from within another environment that would not see its torch
  made=$(mktemp -d)
  trap 'rm -rf "$made"' EXIT
  python=python3
  python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$made" "$root"/wheels/*.whl
  export PYTHONPATH="$made${PYTHONPATH:+:$PYTHONPATH}"
else
  python=python3
fi
look="import importlib.util, sys; sys.exit(None in map(importlib.util.find_spec, 'torch click numpy pytest'.split()))"
if ! "$python" -c "$look"; then
  echo "Error: $python lacks torch, click, numpy or pytest; name another in PYTHON, make .venv with make test, or put wheels into $root/wheels." >&2
  exit 2
fi

export PYTHONPATH="$root:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
cd "$root"
left=$((limit - (SECONDS - begun)))
# what is done is in the file after every part, so the end comes in time whatever hangs
timeout --kill-after=5 "$left" "$python" benchmarks/gpu_check.py "$output" --seconds "$((left - 20))"
