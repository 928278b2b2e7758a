#!/bin/sh
# Of the sources on stdin, passes on those that a build directory compiles (a file that CMake leaves out, such
# as the twin of a transport, has no compile command).
# usage: scripts/in_build.sh BUILD_DIRECTORY
commands=$1/compile_commands.json
while read -r file; do
  grep -q "/$file\"" "$commands" && echo "$file"
done
true
