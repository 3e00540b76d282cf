#!/usr/bin/env bash
# Formats every C++ file of the tree in place; with --check it only reports what it would change.
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mode=(-i)
if [[ "${1:-}" == --check ]]; then mode=(--dry-run -Werror); fi
tree_files '*.h' '*.cc' | tr '\n' '\0' | xargs -0 -r -n 32 -P "$(nproc)" clang-format "${mode[@]}"
