#!/usr/bin/env bash
# The Debian packages that Doppler needs, by purpose, and their installation.
#
#   scripts/packages.sh [build|test|lint|fuzz|aarch64|amx]...    installs what is missing (default: build test)
set -euo pipefail

# shellcheck disable=SC2034  # read by name in install_packages
{
  PACKAGES_build=(g++ cmake ninja-build pkg-config libfmt-dev libspdlog-dev nlohmann-json3-dev
    libcli11-dev libssl-dev liburing-dev libpcre2-dev libutf8proc-dev
    libedit-dev libtorrent-rasterbar-dev)
  # Only processors of this kind have the library (docs/dependencies.md).
  if [[ "$(uname -m)" == x86_64 ]]; then PACKAGES_build+=(libipsec-mb-dev); fi
  PACKAGES_test=(libgtest-dev libgmock-dev libbenchmark-dev)
  PACKAGES_lint=(clang-format clang-tidy)
  PACKAGES_fuzz=(clang lld libclang-rt-14-dev)
  PACKAGES_aarch64=(g++-aarch64-linux-gnu qemu-user googletest)
  # For scripts/emulate_amx.sh.
  PACKAGES_amx=(g++ make git patch busybox-static isolinux syslinux-common xorriso cpio)
}

# Prints those of the given packages that are not installed.
missing_packages() {
  local installed package
  installed="$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
    awk '$2 == "installed" { print $1 }' || true)"
  for package in "$@"; do
    if ! grep -qxF -- "$package" <<<"$installed"; then echo "$package"; fi
  done
}

# Installs what is missing for the given purposes. Takes milliseconds if nothing is.
install_packages() {
  local wanted=() purpose missing as_root=()
  for purpose in "$@"; do
    local -n list="PACKAGES_$purpose"
    wanted+=("${list[@]}")
  done
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "note: not a Debian system; the tree needs the equivalents of: ${wanted[*]}" >&2
    return
  fi
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  if ((${#missing[@]} == 0)); then return; fi
  echo "installing packages: ${missing[*]}" >&2
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "error: only root can install packages and there is no sudo. As root, run:" >&2
      echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
}

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
  if (($# == 0)); then set -- build test; fi
  for purpose in "$@"; do
    case "$purpose" in
      build | test | lint | fuzz | aarch64 | amx) ;;
      *)
        echo "error: unknown purpose '$purpose'; choose from build, test, lint, fuzz, aarch64, amx" >&2
        exit 2
        ;;
    esac
  done
  install_packages "$@"
fi
