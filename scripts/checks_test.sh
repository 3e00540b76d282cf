#!/usr/bin/env bash
# Tests the checks of this folder on small trees: each must accept a good one and find what is wrong
# in a bad one.
set -euo pipefail

SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
TREE="$(mktemp -d)"
trap 'rm -rf "$TREE"' EXIT
failures=0

# add FILE LINE...: writes a file of the small tree.
add() {
  local file="$TREE/$1"
  shift
  mkdir -p "$(dirname "$file")"
  printf '%s\n' "$@" >"$file"
}

accepts() {
  if ! "$SCRIPTS/$1" "$TREE" >/dev/null 2>&1; then
    echo "FAILED: $1 must accept $2" >&2
    failures=1
  fi
}

# finds CHECK TEXT: it must fail and its message must hold TEXT.
finds() {
  local message
  if message="$("$SCRIPTS/$1" "$TREE" 2>&1)" || ! grep -qF -- "$2" <<<"$message"; then
    echo "FAILED: $1 must report '$2' but said: $message" >&2
    failures=1
  fi
}

start_tree() { rm -rf "${TREE:?}"/*; }

start_tree
add src/apps/main.cc '#include "apps/run.h"' '#include "base/bytes.h"'
add src/tier/pager.cc '#include <vector>' '#include "tier/pager.h"' '#include "store/store.h"' \
  '// #include "engine/session.h"'
add src/backend/cpu/matmul.cc '#include "backend/backend.h"' '#include "io/file.h"'
accepts check_includes.sh 'modules that look back'
add src/tier/pager.cc '#include <vector>' '#include "engine/session.h"'
finds check_includes.sh 'src/tier/pager.cc:2: tier comes before engine'
start_tree
add src/backend/cpu/matmul.cc '#  include "format/manifest.h"'
finds check_includes.sh 'backend comes before format'
add src/backend/cpu/matmul.cc '#include "matmul.h"'
finds check_includes.sh '"matmul.h" is not relative to src/'
start_tree
add src/misc/a.h '#include "base/bytes.h"'
finds check_includes.sh 'misc is not a module'

start_tree
mkdir -p "$TREE/tests"
add src/io/file.cc 'namespace fs = std::filesystem;' 'using std::string;' 'fs::path f(string name);'
accepts check_usings.sh 'names that are used'
add tests/a_test.cc 'using testing::Eq;' 'using testing::Ne;' 'EXPECT_THAT(1, Eq(1));  // not Ne'
finds check_usings.sh 'tests/a_test.cc:2: Ne is not used'
add tests/a_test.cc 'namespace fs = std::filesystem;'
finds check_usings.sh 'tests/a_test.cc:1: fs is not used'

start_tree
# shellcheck disable=SC2016  # the backquotes are Markdown's
add docs/a.md '[b](b.md#part) [web](https://example.org/x) [top](#a) `[code](none.md)`' \
  '```' '[code](none.md)' '```' '![tree](../README.md "title")'
add docs/b.md 'text'
add README.md '[docs](docs/) [a](docs/a.md)'
accepts check_links.sh 'links that lead somewhere'
add README.md '[a](docs/a.md)' '[c](docs/c.md)'
finds check_links.sh "README.md: the link to 'docs/c.md' leads nowhere"

start_tree
add a.cc 'open("/proc/self/status"); // see docs/work/notes and ~/work/x'
accepts check_paths.sh 'paths that every machine has'
add a.cc "open(\"/wo""rk/data\");"
finds check_paths.sh 'a.cc:1:'
add a.cc "see ../sha""red/notes"
finds check_paths.sh 'a.cc:1:'

exit "$failures"
