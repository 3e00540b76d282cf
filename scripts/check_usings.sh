#!/usr/bin/env bash
# Checks that every name which a source file takes from a namespace is used in that file.
#
#   scripts/check_usings.sh [TREE]    by default the tree of this repository
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# shellcheck disable=SC2016  # the dollars are awk's
find src tests -type f -name '*.cc' | LC_ALL=C sort | tr '\n' '\0' |
  xargs -0 -r awk '
    FNR == 1 { check() }
    {
      code = $0
      sub(/\/\/.*/, "", code)
      if (code ~ /^ *using [A-Za-z0-9_:]+::[A-Za-z0-9_]+;/) {
        sub(/;.*/, "", code)
        sub(/.*::/, "", code)
        taken[code] = FILENAME ":" FNR
      } else if (code ~ /^ *namespace [A-Za-z0-9_]+ = /) {
        sub(/^ *namespace /, "", code)
        sub(/ .*/, "", code)
        taken[code] = FILENAME ":" FNR
      } else {
        count = split(code, words, /[^A-Za-z0-9_]+/)
        for (i = 1; i <= count; ++i) used[words[i]] = 1
      }
    }
    function check(name) {
      for (name in taken) {
        if (!(name in used)) {
          print taken[name] ": " name " is not used"
          failed = 1
        }
      }
      split("", taken)
      split("", used)
    }
    END {
      check()
      exit failed
    }
  ' >&2
