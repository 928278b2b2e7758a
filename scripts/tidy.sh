#!/bin/sh
# The style of the sources: clang-format, clang-tidy over src/, and the style tests (ctest -L tidy), whose closing
# lines come last. Runs all three and fails if one fails.
set -u
cd "$(dirname "$0")/.."
build=build/release
jobs=${JOBS:-$(nproc)}
failed=

scripts/configure.sh release -DWINGSPAN_TESTS=ON || exit 1
echo "== clang-format"
scripts/sources.sh | xargs clang-format --dry-run -Werror || failed="$failed clang-format"

echo "== clang-tidy"
# A unit may be several files of a module put together: what it includes is checked like itself.
scripts/units.sh $build |
  xargs -P "$jobs" -n 1 clang-tidy --quiet -p $build 2>build/tidy-stderr.log
if [ $? -ne 0 ]; then
  grep -vE 'warnings? generated|Suppressed|Use -header-filter' build/tidy-stderr.log >&2
  failed="$failed clang-tidy"
fi

echo "== style tests"
cmake --build $build -j "$jobs" --target test_tidy || failed="$failed build"
ctest --test-dir $build --output-on-failure -L tidy || failed="$failed style-tests"
[ -z "$failed" ] || { echo "tidy: failed:$failed" >&2; exit 1; }
