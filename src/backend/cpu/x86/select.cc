#include "backend/cpu/select.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/cpu/quant_matmul.h"
#include "base/error.h"

namespace doppler {
namespace {

struct Registers {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
};

// Zeros where the processor does not have the leaf.
Registers CpuId(unsigned leaf, unsigned subleaf = 0) {
  Registers found;
  __get_cpuid_count(leaf, subleaf, &found.eax, &found.ebx, &found.ecx, &found.edx);
  return found;
}

struct Processor {
  Registers features = CpuId(1);
  Registers extended = CpuId(7);
  Registers more = CpuId(7, 1);
};

// Asked once: in a virtual machine the host answers, which takes microseconds.
const Processor& ThisProcessor() {
  static const Processor kProcessor;
  return kProcessor;
}

// Clang 14 does not know the name "f16c".
bool HasF16c() { return (ThisProcessor().features.ecx & (1u << 29)) != 0; }

bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
}

bool HasAvxVnni() {
  constexpr unsigned kAvxVnni = 1u << 4;
  return HasAvx2() && (ThisProcessor().more.eax & kAvxVnni) != 0;
}

bool HasAvx512Vnni() {
  return HasAvx2() && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

bool HasVbmi() { return HasAvx512Vnni() && __builtin_cpu_supports("avx512vbmi"); }

// AMD's family 1Ah.
bool IsZen5() {
  const unsigned signature = ThisProcessor().features.eax;
  const unsigned family = (signature >> 8 & 0xfu) + (signature >> 20 & 0xffu);
  return __builtin_cpu_is("amd") && family == 0x1a;
}

// Linux lets a process use tiles once it has asked, and only if the kernel saves them too.
bool MayUseTiles() {
  constexpr int kTileData = 18;  // the state component, as in XCR0
  static const bool kGranted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, kTileData) == 0;
  return kGranted;
}

// EDX of CPUID leaf 7 has all of `bits`.
bool HasExtendedFeatures(unsigned bits) { return (ThisProcessor().extended.edx & bits) == bits; }

bool HasAmxInt8() {
  constexpr unsigned kAmxTile = 1u << 24;
  constexpr unsigned kAmxInt8 = 1u << 25;
  return HasExtendedFeatures(kAmxTile | kAmxInt8) && HasAvx512Vnni() && MayUseTiles();
}

// Its weights are scaled in f16.
bool HasAmxBf16() {
  constexpr unsigned kAmxBf16 = 1u << 22;
  constexpr unsigned kAvx512Fp16 = 1u << 23;
  return HasExtendedFeatures(kAmxBf16 | kAvx512Fp16) && HasAmxInt8();
}

// The products of AVX-512 VNNI, those that look up bytes among them if this processor can.
MatMulKernels VnniProductsHere() {
  MatMulKernels products = avx512::kProducts;
  if (!HasVbmi()) return products;
  for (int type = 0; type < MatMulKernels::kTypes; ++type) {
    if (avx512_vbmi::kProducts.of[type] != nullptr) {
      products.of[type] = avx512_vbmi::kProducts.of[type];
    }
  }
  return products;
}

CpuKernels WithVnniProductsHere(CpuKernels kernels) {
  static const MatMulKernels kProducts = VnniProductsHere();
  kernels.matmul = &kProducts;
  return kernels;
}

const CpuKernels& VnniKernelsHere() {
  static const CpuKernels kKernels = WithVnniProductsHere(kAvx512VnniKernels);
  return kKernels;
}

const CpuKernels& AmxBf16KernelsHere() {
  static const CpuKernels kKernels = WithVnniProductsHere(kAmxBf16Kernels);
  return kKernels;
}

}  // namespace

bool CanRun(CpuPath path) {
  switch (path) {
    case CpuPath::kPortable:
      return true;
    case CpuPath::kAvx2:
      return HasAvx2();
    case CpuPath::kAvxVnni:
      return HasAvxVnni();
    case CpuPath::kAvx512Vnni:
      return HasAvx512Vnni();
    case CpuPath::kAmxInt8:
      return HasAmxInt8();
    case CpuPath::kAmxBf16:
      return HasAmxBf16();
    default:
      return false;
  }
}

const CpuKernels& KernelsOf(CpuPath path) {
  DOPPLER_CHECK(CanRun(path));
  switch (path) {
    case CpuPath::kAvx2:
      return kAvx2Kernels;
    case CpuPath::kAvxVnni:
      return kAvxVnniKernels;
    case CpuPath::kAvx512Vnni:
      return VnniKernelsHere();
    case CpuPath::kAmxInt8:
      return kAmxInt8Kernels;
    case CpuPath::kAmxBf16:
      return AmxBf16KernelsHere();
    default:
      return kPortableKernels;
  }
}

FetchDistance FetchDistanceHere() {
  if (__builtin_cpu_is("intel")) return FetchDistance::kIntel;
  return IsZen5() ? FetchDistance::kZen5 : FetchDistance::kZen4;
}

}  // namespace doppler
