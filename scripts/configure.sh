#!/bin/sh
# Configures a preset; silent unless it fails or something optional is left out.
# usage: scripts/configure.sh PRESET [CMAKE OPTION...]
set -eu
cd "$(dirname "$0")/.."
preset=$1
log=build/configure-$preset.log
mkdir -p build
if ! cmake --preset "$@" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
grep -E '^-- (WINGSPAN_|The MPI transport)' "$log" || true
