#!/bin/sh
# All C++ sources of the project, one a line.
cd "$(dirname "$0")/.." && find src tests bench fuzz -name '*.cc' -o -name '*.h' | LC_ALL=C sort
