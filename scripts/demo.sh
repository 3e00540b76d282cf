#!/usr/bin/env bash
# Builds Doppler, converts the small model of this repository and lets it write, in less memory than
# the model takes.
#
#   scripts/demo.sh [OPTIONS OF doppler run]    such as: -p 'The sea was calm' -n 200
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

HOST_MEMORY=32M
PROMPT='Once upon a time'
TOKENS=64
CHECKPOINT=models/classics-66m-a18m.Q4_K_M.gguf
BUILD=build/demo
MODEL="$BUILD/classics-66m-a18m"

# has_option LONG SHORT ARGUMENT...: whether one of the arguments sets the option.
has_option() {
  local long="$1" short="$2" argument
  shift 2
  for argument in "$@"; do
    if [[ "$argument" == "$long" || "$argument" == "$long="* ]]; then return 0; fi
    if [[ -n "$short" && "$argument" == "$short"* && "$argument" != --* ]]; then return 0; fi
  done
  return 1
}

say "installing packages, if any are missing"
install_packages build

say "building doppler in $BUILD"
mkdir -p "$BUILD"
if ! cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDOPPLER_TESTS=OFF \
  >"$BUILD/configure.log" 2>&1; then
  cat "$BUILD/configure.log" >&2
  fail "the build could not be configured"
fi
cmake --build "$BUILD" --target doppler -j "$(job_count)" >&2
DOPPLER="$BUILD/src/apps/doppler"

if [[ ! -e "$MODEL" ]]; then
  say "converting $CHECKPOINT"
  "$DOPPLER" convert "$CHECKPOINT" "$MODEL" >&2
fi

options=()
if ! has_option --prompt -p "$@"; then options+=(-p "$PROMPT"); fi
if ! has_option --tokens -n "$@"; then options+=(-n "$TOKENS"); fi
if ! has_option --host-memory '' "$@"; then options+=(--host-memory "$HOST_MEMORY"); fi
say "running: doppler run $MODEL ${options[*]} $*"
"$DOPPLER" run "$MODEL" "${options[@]}" "$@"
