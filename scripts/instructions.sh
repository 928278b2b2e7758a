#!/bin/sh
# Counts the instructions of three hot loops under callgrind (which knows x86-64-v3, not AVX-512) and compares them
# with what is recorded in tests/kernels/instructions.txt: more than 5 % above fails, 5 % below asks to record anew.
# usage: scripts/instructions.sh HOT_LOOPS_PROGRAM [--record]        exit 77: no valgrind
set -eu
cd "$(dirname "$0")/.."
program=$1
recorded=tests/kernels/instructions.txt
command -v valgrind >/dev/null || { echo "instructions: no valgrind: skipped" >&2; exit 77; }

count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" 2>&1 | sed -n 's/.*Collected : //p'
}

bf16=$(count bf16_none)
fp8=$(count fp8_none)
failed=0
lines=
for loop in bf16_decode bf16_prefill fp8_decode; do
  case $loop in bf16*) setup=$bf16 ;; *) setup=$fp8 ;; esac
  now=$(($(count "$loop") - setup))
  lines="$lines$loop $now
"
  was=$(sed -n "s/^$loop //p" "$recorded")
  echo "$loop: $now instructions, recorded ${was:-nothing}"
  [ "${2:-}" = --record ] && continue
  if [ -z "$was" ] || [ $((now * 100)) -gt $((was * 105)) ]; then
    echo "instructions: $loop takes more than recorded; if that is meant: $0 $program --record" >&2
    failed=1
  elif [ $((now * 100)) -lt $((was * 95)) ]; then
    echo "instructions: $loop takes fewer than recorded: $0 $program --record" >&2
  fi
done
if [ "${2:-}" = --record ]; then
  { grep '^#' "$recorded"; printf %s "$lines"; } >"$recorded.new"
  mv "$recorded.new" "$recorded"
fi
exit $failed
