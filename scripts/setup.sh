#!/bin/sh
# Installs the Debian packages of the named sections of scripts/packages.txt that are missing.
# usage: scripts/setup.sh [--list] [SECTION...]      (default: all sections)
set -eu
list=$(dirname "$0")/packages.txt

# Packages of the sections given as arguments; all of them without arguments.
packages() {
  awk -v wanted=" $* " '
    { sub(/[ \t]*#.*/, "") }
    /^\[.*\]$/ { section = substr($0, 2, length($0) - 2); known[section] = 1; next }
    NF && (wanted ~ /^ *$/ || index(wanted, " " section " ")) { print $1 }
    END {
      n = split(wanted, names, " ")
      for (i = 1; i <= n; ++i) if (!(names[i] in known)) {
        print "setup: no section [" names[i] "] in packages.txt" > "/dev/stderr"
        exit 2
      }
    }' "$list"
}

if [ "${1:-}" = "--list" ]; then
  shift
  packages "$@"
  exit
fi
wanted=$(packages "$@")

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: this is not a Debian system; going on with what is installed. Needed, by their Debian names:" >&2
  echo "$wanted" | tr '\n' ' ' | fold -s -w 96 | sed 's/^/  /' >&2
  echo >&2
  exit 0
fi

missing=
for package in $wanted; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  case $state in
    installed*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  as_root=sudo
else
  echo "setup: missing packages, and neither root nor sudo to install them. As root, run:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
  exit 1
fi
echo "setup: installing$missing" >&2
# A package that apt cannot find is told by the second command; a stale mirror alone is no reason to stop.
$as_root apt-get update -q || echo "setup: apt-get update failed; trying with the lists that are there" >&2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing || {
  echo "setup: apt-get could not install$missing" >&2
  exit 1
}
