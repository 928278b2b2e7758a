#!/bin/sh
# Runs the benchmark programs of a build directory, then `wingspan bench` on the demo model, within a time limit.
# usage: scripts/bench.sh BUILD_DIRECTORY SECONDS
set -u
cd "$(dirname "$0")/.."
build=$1
deadline=$(($(date +%s) + $2))
failed=

# Runs a command in what is left of the time.
limited() {
  left=$((deadline - $(date +%s)))
  if [ "$left" -le 0 ]; then
    echo "bench: no time left for $*" >&2
    failed="$failed $1"
    return
  fi
  timeout "$left" "$@" && return
  rc=$?
  [ "$rc" = 124 ] && echo "bench: $1 was cut off: the limit of all benchmarks is over" >&2
  failed="$failed $1"
}

for program in "$build"/bench/bench_*; do
  [ -x "$program" ] || continue
  echo "== $program"
  limited "$program" --benchmark_min_time=0.2
done
echo "== wingspan bench"
limited "$build/wingspan" bench --model models/wren
[ -z "$failed" ] || { echo "bench: failed:$failed" >&2; exit 1; }
