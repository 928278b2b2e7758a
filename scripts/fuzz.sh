#!/bin/sh
# Builds the fuzz programs and runs each for a while, two at a time, from the seeds of tests/goldens that fit. Inputs that
# were found stay in build/asan/corpus/<name>; an input that fails is kept in build/asan/found and named. The preset is that
# of the sanitized tests, so that continuous integration compiles the libraries once for both.
# usage: scripts/fuzz.sh SECONDS [NAME...]
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
build=build/asan
jobs=${JOBS:-$(nproc)}
scripts/configure.sh asan
cmake --build $build -j "$jobs" --target fuzz

programs=$(find $build/fuzz -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x | LC_ALL=C sort)
if [ $# -gt 0 ]; then
  programs=$(for name in "$@"; do echo "$build/fuzz/fuzz_$name"; done)
fi
[ -n "$programs" ] || { echo "fuzz: there are no fuzz programs" >&2; exit 1; }
mkdir -p $build/found $build/logs

# Copies small golden files to a target's first corpus: the name says what it reads.
seed() {
  corpus=$build/corpus/$1
  [ -d "$corpus" ] && return
  mkdir -p "$corpus"
  case $1 in
    safetensors*) pattern='*.safetensors' ;;
    config*) pattern='config.json' ;;
    tokenizer*) pattern='tokenizer.json' ;;
    eplb_statistic*) pattern='rank*.safetensors' ;;
    eplb_torch*) pattern='*.pt' ;;
    eplb_yaml*) pattern='*.yaml' ;;
    eplb_json*) pattern='*.json*' ;;
    http_request*) pattern='*.http' ;;
    *) pattern='*.json' ;;
  esac
  case $1 in
    eplb*) from='tests/goldens/eplb/formats tests/goldens/eplb/hostile' ;;
    *) from='tests/goldens models' ;;
  esac
  # shellcheck disable=SC2086
  find $from -name "$pattern" -size -256k | LC_ALL=C sort | head -n 24 |
    while read -r file; do
      cp "$file" "$corpus/$(echo "$file" | tr / _)"
    done
}

# One target; its log is shown only if it fails.
run_one() {
  name=$(basename "$1" | sed 's/^fuzz_//')
  log=$build/logs/$name.log
  dictionary=fuzz/$name.dict
  if "$1" -max_total_time="$seconds" -max_len=262144 -timeout=20 -rss_limit_mb=2048 \
    -artifact_prefix="$build/found/$name-" -print_final_stats=1 \
    $([ -f "$dictionary" ] && echo "-dict=$dictionary") "$build/corpus/$name" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz: $name: ok, $runs runs in $seconds s"
  else
    tail -n 40 "$log"
    echo "fuzz: $name: FAILED; the input is in $build/found, the log in $log" >&2
    return 1
  fi
}

failed=
running=
wait_all() {
  for pid in $running; do wait "$pid" || failed=1; done
  running=
}
count=0
for program in $programs; do
  seed "$(basename "$program" | sed 's/^fuzz_//')"
  run_one "$program" &
  running="$running $!"
  count=$((count + 1))
  [ $((count % jobs)) = 0 ] && wait_all
done
wait_all
[ -z "$failed" ]
