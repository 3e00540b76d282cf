#!/usr/bin/env bash
# Checks that every module includes only itself and the modules before it.
#
#   scripts/check_includes.sh [TREE]    TREE/src is checked, by default that of this repository
set -euo pipefail

MODULES="base io backend format store swarm tier comm model text engine convert server apps"

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# shellcheck disable=SC2016  # the dollars are awk's
find src -type f \( -name '*.h' -o -name '*.cc' \) | LC_ALL=C sort | tr '\n' '\0' |
  xargs -0 -r awk -v modules="$MODULES" '
    BEGIN {
      count = split(modules, names, " ")
      for (i = 1; i <= count; ++i) rank[names[i]] = i
    }
    FNR == 1 {
      split(FILENAME, folders, "/")
      own = folders[2]
      own_rank = rank[own]
      if (!own_rank) report(FILENAME ": " own " is not a module in the order of modules")
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
      path = $0
      sub(/^[^"]*"/, "", path)
      sub(/".*/, "", path)
      other = path
      sub(/\/.*/, "", other)
      where = FILENAME ":" FNR ": "
      if (!(path ~ /\//) || !(other in rank)) {
        report(where "\"" path "\" is not relative to src/")
      } else if (own_rank && rank[other] > own_rank) {
        report(where own " comes before " other " and may not include \"" path "\"")
      }
    }
    function report(message) {
      print message
      failed = 1
    }
    END { exit failed }
  ' >&2
