#!/usr/bin/env bash
# Checks that no text file names a folder that exists on one machine only: the tree must build and
# be understood from a clone alone.
#
#   scripts/check_paths.sh [TREE]    by default this repository
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:-.}"

# The brackets keep the pattern from finding itself.
PATTERN='(^|[^A-Za-z0-9_.~-])/wor[k](/|$|[^A-Za-z0-9_-])|\.\./share[d]'

# shellcheck disable=SC2119
found="$(tree_files | tr '\n' '\0' | xargs -0 -r grep -InHE -- "$PATTERN" || true)"
if [[ -n "$found" ]]; then
  printf '%s\n' "$found" >&2
  echo "error: these lines name folders outside the tree" >&2
  exit 1
fi
