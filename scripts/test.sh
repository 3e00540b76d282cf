#!/usr/bin/env bash
# Builds and tests Doppler. Installs the packages it needs, if they are missing.
set -euo pipefail

usage() {
  cat <<'END'
usage: scripts/test.sh [--all | --stage NAME...] [--fuzz-seconds N]

Without options: --stage release. Stages, in the order of --all:
  lint     formatting, order of modules, unused names, links of the documents
  tidy     clang-tidy over every source file and header but the tests
  asan     all tests under Clang's address and undefined-behaviour sanitizers
  fuzz     every fuzz target for a short while (5 s, see --fuzz-seconds)
  tsan     the tests of what runs in several threads, under the thread sanitizer
  aarch64  the kernels' tests, compiled for AArch64, under an emulator
  release  all tests of the optimised build; they abort when decode allocates memory
END
}

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

ALL_STAGES=(lint tidy asan fuzz tsan aarch64 release)
FUZZ_SECONDS=5
FUZZERS_AT_ONCE=2
stage=""
stage_start=0

# Sanitizers map their shadow memory at fixed addresses; kernels that randomise many bits of the
# address space can put something else there first. Containers may forbid turning that off.
without_address_randomisation() {
  if setarch --addr-no-randomize true 2>/dev/null; then
    setarch --addr-no-randomize "$@"
  else
    "$@"
  fi
}

configure() {
  if ! cmake --preset "$1" >"$ROOT/build/$1.configure.log" 2>&1; then
    cat "$ROOT/build/$1.configure.log" >&2
    return 1
  fi
}

# Prints the programs that a configured build can make.
programs_of() {
  ninja -C "build/$1" -t targets all | sed -n 's/: CXX_EXECUTABLE_LINKER__.*//p'
}

# build PRESET PROGRAM...
build() {
  local preset="$1"
  shift
  if (($# == 0)); then return; fi
  # The build runs the test programs once, to list their tests.
  without_address_randomisation ninja -C "build/$preset" -j "$(job_count)" "$@"
}

# run_tests PRESET [OPTIONS OF ctest]
# More at once than there are cores, since processes that talk to each other often wait.
run_tests() {
  without_address_randomisation ctest --preset "$1" -j "$((2 * $(nproc)))" --no-tests=error "${@:2}"
}

# There the other stages build and test those kernels.
is_aarch64() { [[ "$(uname -m)" == aarch64 ]]; }

stage_lint() {
  install_packages lint
  scripts/format.sh --check
  scripts/check_includes.sh
  scripts/check_usings.sh
  scripts/check_links.sh
  scripts/check_paths.sh
  scripts/checks_test.sh
}

# tidy PRESET PATTERN: what that preset compiles of the files that match.
tidy() {
  local log="build/$1.tidy.log"
  if ! run-clang-tidy -p "build/$1" -j "$(job_count)" -quiet -checks=-bugprone-suspicious-include \
    "^$ROOT/$2$" >"$log" 2>&1; then
    sed -i 's/\x1b\[[0-9;]*m//g' "$log"
    grep -E '(error|warning):' "$log" | sort -u >&2 || tail -n 20 "$log" >&2
    return 1
  fi
}

# Reads several modules in one go (cmake/DopplerTidy.cmake): most of the time goes into the headers of
# libraries. They are not precompiled here, where nothing is built. Of the checks, only those for
# unused names need a file of its own (check_usings.sh).
stage_tidy() {
  install_packages build test lint fuzz
  configure tidy
  tidy tidy "(src/.*(?<!_test|bench|_fuzz)\.cc|build/tidy/.*/tidy_[a-z]*\.dir/.*\.cxx)"
  if is_aarch64; then return; fi
  install_packages aarch64
  configure aarch64
  tidy aarch64 "src/backend/cpu/arm/.*\.cc"
}

# All but the benchmarks, which would only cost time here.
stage_asan() {
  install_packages build test fuzz
  configure asan
  local programs
  mapfile -t programs < <(programs_of asan | grep -v '_bench$')
  build asan "${programs[@]}"
  run_tests asan
}

stage_tsan() {
  install_packages build test
  configure tsan
  local programs=(base_test io_test backend_test store_test engine_test tiers_test)
  build tsan "${programs[@]}"
  # Here all of them compute, and threads that spin for one another would have no core.
  run_tests tsan -j "$(nproc)" -R "^($(IFS='|' && echo "${programs[*]}"))\\."
}

stage_aarch64() {
  if is_aarch64; then return; fi
  install_packages build aarch64
  configure aarch64
  build aarch64 all
  run_tests aarch64
}

stage_release() {
  install_packages build test
  configure release
  build release all
  run_tests release
}

# Runs one fuzz target on its seeds. What it finds stays in build/asan/found/TARGET.
fuzz_one() {
  local program="$1" name found seeds=() status=0
  name="$(basename "$program")"
  found="build/asan/found/$name"
  mkdir -p "$found/corpus"
  if [[ -d "tests/fuzz/$name" ]]; then seeds=("tests/fuzz/$name"); fi
  without_address_randomisation "build/asan/$program" -max_total_time="$FUZZ_SECONDS" -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix="$found/" -print_final_stats=1 \
    "$found/corpus" "${seeds[@]}" >"$found/log" 2>&1 || status=$?
  echo "$name: $(sed -n 's/^stat::number_of_executed_units: */runs: /p' "$found/log")"
  if ((status != 0)); then
    tail -n 40 "$found/log" >&2
    echo "error: $name failed; its input and log are in $found" >&2
    return 1
  fi
}

# The fuzz targets are part of the asan build.
stage_fuzz() {
  install_packages build test fuzz
  configure asan
  local programs sources
  mapfile -t programs < <(programs_of asan | grep '_fuzz$')
  sources="$(find src tests -name '*_fuzz.cc' | wc -l)"
  if ((${#programs[@]} != sources)); then
    fail "${#programs[@]} fuzz targets are built of $sources sources"
  fi
  if ((sources == 0)); then return; fi
  build asan "${programs[@]}"
  export -f fuzz_one without_address_randomisation
  export FUZZ_SECONDS
  # shellcheck disable=SC2016  # for the inner shell to expand
  printf '%s\0' "${programs[@]}" |
    xargs -0 -n 1 -P "$FUZZERS_AT_ONCE" bash -c 'set -euo pipefail; fuzz_one "$1"' fuzz_one
}

run_stage() {
  stage="$1"
  stage_start=$SECONDS
  echo "=== $stage"
  "stage_$stage"
  # After the release stage the summary of ctest is to be the last thing printed.
  if [[ "$stage" != release ]]; then echo "=== $stage: done in $((SECONDS - stage_start)) s"; fi
}

report_failure() {
  local status=$?
  if ((status != 0)) && [[ -n "$stage" ]]; then
    echo "=== $stage: FAILED after $((SECONDS - stage_start)) s" >&2
  fi
}

wrong_usage() {
  echo "error: $1" >&2
  usage >&2
  exit 2
}

main() {
  local stages=() name
  while (($# > 0)); do
    case "$1" in
      --all) stages=("${ALL_STAGES[@]}") ;;
      --stage | --fuzz-seconds)
        if (($# < 2)); then wrong_usage "$1 needs a value"; fi
        if [[ "$1" == --stage ]]; then stages+=("$2"); else FUZZ_SECONDS="$2"; fi
        shift
        ;;
      -h | --help)
        usage
        return
        ;;
      *) wrong_usage "unknown option '$1'" ;;
    esac
    shift
  done
  if ((${#stages[@]} == 0)); then stages=(release); fi
  for name in "${stages[@]}"; do
    if ! declare -F "stage_$name" >/dev/null; then wrong_usage "there is no stage '$name'"; fi
  done
  if ! [[ "$FUZZ_SECONDS" =~ ^[1-9][0-9]*$ ]]; then wrong_usage "--fuzz-seconds needs a number"; fi
  mkdir -p build
  trap report_failure EXIT
  for name in "${stages[@]}"; do run_stage "$name"; done
}

main "$@"
