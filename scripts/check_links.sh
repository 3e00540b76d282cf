#!/usr/bin/env bash
# Checks that every relative link of every Markdown file leads to a file of the tree.
#
#   scripts/check_links.sh [TREE]    by default this repository
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "${1:-.}"

# Prints the targets of [text](target) outside code blocks and code spans, one per line.
link_targets() {
  awk '/^ *```/ { code = !code; next } !code { gsub(/`[^`]*`/, ""); print }' "$1" |
    { grep -oE '\]\([^) ]+( "[^"]*")?\)' || true; } | sed -E 's/^\]\(//; s/( "[^"]*")?\)$//'
}

failed=0
while IFS= read -r file; do
  while IFS= read -r target; do
    case "$target" in
      *://* | mailto:* | '#'*) continue ;;
    esac
    path="$(dirname "$file")/${target%%#*}"
    if [[ ! -e "$path" ]]; then
      echo "$file: the link to '$target' leads nowhere" >&2
      failed=1
    fi
  done < <(link_targets "$file")
done < <(tree_files '*.md')
exit "$failed"
