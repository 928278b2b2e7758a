#!/bin/sh
# Runs all benchmarks of a build directory within a time limit, then writes bench/report.html and the table of
# docs/performance.md. Results of parts that ended before the limit count.
# usage: scripts/bench.sh BUILD_DIRECTORY SECONDS
set -u
cd "$(dirname "$0")/.."
build=$1
deadline=$(($(date +%s) + $2))
failed=
out=$build/bench-results
rm -rf "$out"
mkdir -p "$out"

# limited NAME COMMAND...: runs a command in what is left of the time.
limited() {
  name=$1
  shift
  left=$((deadline - $(date +%s)))
  if [ "$left" -le 0 ]; then
    echo "bench: no time left for $name" >&2
    failed="$failed $name"
    return
  fi
  echo "== $name" >&2
  timeout "$left" "$@" && return
  rc=$?
  [ "$rc" = 124 ] && echo "bench: $name was cut off: the limit of all benchmarks is over" >&2
  failed="$failed $name"
}

# engine NAME [LAUNCHER...] -- OPTIONS...: `wingspan bench`, to NAME.bench.json.
engine() {
  name=$1
  shift
  launcher=
  while [ "$1" != -- ]; do
    launcher="$launcher $1"
    shift
  done
  shift
  # shellcheck disable=SC2086 # the launcher is several words
  limited "$name" $launcher "$build/wingspan" bench "$@" --json > "$out/$name.bench.json"
}

model="--synthetic 24,1024,64,8,384"
# shellcheck disable=SC2086 # the options are several words
{
  engine ranks -- $model --batch 64 --ep 1,8,64 --prompt-tokens 16 --decode-tokens 8
  engine decode -- $model --batch 1,4,16,64 --prompt-tokens 16 --decode-tokens 8
  engine prefill-512 -- $model --batch 1 --prompt-tokens 512 --decode-tokens 2
}
if command -v mpirun > /dev/null; then
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    engine ranks-mpi mpirun -n 4 --oversubscribe --bind-to none --mca btl_vader_single_copy_mechanism none -- \
    --synthetic 24,1024,64,8,384 --batch 64 --prompt-tokens 16 --decode-tokens 8 --threads "$(nproc)"
fi
for experts in 16 64 256; do
  engine "experts-$experts" -- --synthetic "4,1024,$experts,8,384" --batch 16 --prompt-tokens 16 --decode-tokens 8
done
for tokens in 64 512 4096; do
  engine "context-$tokens" -- --synthetic 4,1024,16,8,384 --batch 1 --prompt-tokens "$tokens" --decode-tokens 8
done
for tokens in 16 64 128; do
  engine "prefill-$tokens" -- --synthetic 24,1024,64,8,384 --batch 1 --prompt-tokens "$tokens" --decode-tokens 2 --rounds 1
done
if python3 scripts/bench_checkpoint.py "$out/checkpoint"; then
  engine load -- --model "$out/checkpoint" --loading --batch 1 --prompt-tokens 4 --decode-tokens 2 --rounds 3
  rm -rf "$out/checkpoint"
else
  failed="$failed checkpoint"
fi
for program in "$build"/bench/bench_*; do
  [ -x "$program" ] || continue
  name=$(basename "$program")
  if "$program" --help 2>&1 | grep -q -- --json; then
    limited "$name" "$program" --json "$out/$name.jsonl"
  else
    limited "$name" "$program" --benchmark_min_time=0.05 --benchmark_out="$out/$name.gbench.json" \
      --benchmark_out_format=json > /dev/null
  fi
done
python3 scripts/bench_report.py "$out" "make bench" || failed="$failed report"
[ -z "$failed" ] || { echo "bench: failed:$failed" >&2; exit 1; }
