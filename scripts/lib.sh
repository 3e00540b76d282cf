# Shared by the scripts of this folder, which source it: where the tree is, and what to print.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT" || exit 1

say() { printf '[%4d s] %s\n' "$SECONDS" "$*" >&2; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Compilers at once: one per core that this process may use, and no more than memory allows for
# (the largest files take somewhat less than 1 GiB each).
job_count() {
  local cores memory
  cores="$(nproc)"
  memory="$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)"
  if ((memory < 1)); then memory=1; fi
  echo $((cores < memory ? cores : memory))
}

# The files of the tree, one per line: all that git does not ignore, or without git all that is not
# built. Arguments are patterns such as '*.md'.
# shellcheck disable=SC2120  # without arguments: every file
tree_files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
      if [[ -f "$file" ]]; then printf '%s\n' "$file"; fi
    done
    return
  fi
  local names=(-name '*') pattern
  if (($# > 0)); then
    names=(-false)
    for pattern in "$@"; do names+=(-o -name "${pattern##*/}"); done
  fi
  find . -path ./build -prune -o -path ./.git -prune -o -type f \( "${names[@]}" \) -print |
    sed 's|^\./||'
}
