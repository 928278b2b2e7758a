#!/bin/sh
# The translation units of src/ that a build directory compiles, each once: files, and what CMake puts together of them.
# usage: scripts/units.sh BUILD_DIRECTORY
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd) || exit 1
sed -n 's/^ *"file": "\(.*\)",*$/\1/p' "$build/compile_commands.json" |
  grep -E "^($here/src/|$build/CMakeFiles/wingspan_[a-z_0-9]*\.dir/Unity/)" | LC_ALL=C sort -u
