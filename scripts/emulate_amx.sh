#!/usr/bin/env bash
# Runs a program on a processor with AMX that Bochs emulates, under Debian's kernel: by default the
# tests of the path amx-int8. Needs root and the network, and about five minutes the first time;
# docs/kernels.md has the results.
#
#   scripts/emulate_amx.sh [PROGRAM [ARGUMENT]...]
#   BOCHS=FOLDER    Bochs's sources at the commit below, unchanged (default: they are fetched)
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

COMMIT=783b58fd6d9bae598a07c59719122322fa0edce6
TESTS='CpuPaths.*:Tiles/*:*amx_int8*'
WORK="$ROOT/build/amx"
BOCHS="${BOCHS:-}"

# Bochs with what Linux asks for before it lets programs use AMX, and with some faults mended.
build_bochs() {
  mkdir -p "$WORK"
  if [[ -n "$BOCHS" ]]; then
    cp -r "$BOCHS" "$WORK/bochs.part"
  else
    git clone -q --filter=blob:none --no-checkout https://github.com/bochs-emu/Bochs "$WORK/clone"
    git -C "$WORK/clone" archive "$COMMIT:bochs" | (mkdir "$WORK/bochs.part" && tar x -C "$WORK/bochs.part")
    rm -rf "$WORK/clone"
  fi
  (
    cd "$WORK/bochs.part"
    patch -s -p1 <"$ROOT/scripts/emulate_amx/bochs.patch"
    ./configure --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex --enable-amx \
      --enable-repeat-speedups --enable-fast-function-calls --enable-handlers-chaining \
      --enable-monitor-mwait --with-nogui --disable-docbook CXXFLAGS=-O2 CFLAGS=-O2
    make -j "$(job_count)"
  ) >"$WORK/bochs.log" 2>&1 || fail "Bochs was not built; $WORK/bochs.log says why"
  mv "$WORK/bochs.part" "$WORK/bochs"
}

fetch_kernel() {
  local package
  package="$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')"
  (cd "$WORK" && apt-get -qq download "$package" && dpkg -x "$package"_*.deb kernel)
}

# make_disc PROGRAM [ARGUMENT]...: a disc that boots into it.
make_disc() {
  local root="$WORK/root" disc="$WORK/disc" library
  rm -rf "$root" "$disc"
  mkdir -p "$root"/{bin,proc,dev,tmp} "$disc"
  cp /bin/busybox scripts/emulate_amx/init "$root/"
  mv "$root/busybox" "$root/bin/"
  cp "$1" "$root/bin/program"
  printf '%q ' /bin/program "${@:2}" >"$root/command"
  ldd "$1" | grep -o '/[^ ]*' | while IFS= read -r library; do
    install -D "$library" "$root$library"
  done
  (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1 >"$disc/initrd.gz")
  cp "$WORK"/kernel/boot/vmlinuz-* "$disc/vmlinuz"
  cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$disc/"
  cat >"$disc/isolinux.cfg" <<'END'
default linux
label linux
  kernel /vmlinuz
  append initrd=/initrd.gz console=ttyS0 quiet noapic no_timer_check mitigations=off tsc=reliable
END
  xorriso -as mkisofs -quiet -o "$WORK/disc.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table "$disc" 2>/dev/null
}

# What the machine writes to its serial port comes out here.
run_bochs() {
  cat >"$WORK/bochsrc" <<END
cpu: model=sapphire_rapids, ips=20000000, ignore_bad_msrs=1
memory: guest=1024, host=1024
romimage: file=$WORK/bochs/bios/BIOS-bochs-latest
vgaromimage: file=$WORK/bochs/bios/VGABIOS-lgpl/VGABIOS-lgpl-latest.bin
ata0-master: type=cdrom, path=$WORK/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$WORK/serial
log: $WORK/machine.log
panic: action=fatal
display_library: nogui
END
  : >"$WORK/serial"
  "$WORK/bochs/bochs" -q -f "$WORK/bochsrc" >/dev/null 2>&1 &
  tail -f --pid=$! "$WORK/serial"
}

if (($# == 0)); then set -- build/release/src/backend/backend_test "--gtest_filter=$TESTS" --gtest_color=no; fi
[[ -x "$1" ]] || fail "there is no program '$1'; build it or name another"
install_packages amx
[[ -d "$WORK/bochs" ]] || build_bochs
[[ -d "$WORK/kernel" ]] || fetch_kernel
make_disc "$@"
run_bochs
grep -q '^exit status: 0' "$WORK/serial" || fail "the program failed, or the machine did not start"
