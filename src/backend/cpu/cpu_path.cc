// The paths by name, and which of them this processor runs.
#include "backend/backend.h"
#include "backend/cpu/select.h"

namespace doppler {

std::string_view CpuPathName(CpuPath path) {
  switch (path) {
    case CpuPath::kPortable:
      return "portable";
    case CpuPath::kAvx2:
      return "avx2";
    case CpuPath::kAvxVnni:
      return "avx-vnni";
    case CpuPath::kAvx512Vnni:
      return "avx512-vnni";
    case CpuPath::kAmxInt8:
      return "amx-int8";
    case CpuPath::kAmxBf16:
      return "amx-bf16";
    case CpuPath::kNeonDot:
      return "neon-dot";
  }
  return "unknown";
}

std::vector<CpuPath> RunnableCpuPaths() {
  std::vector<CpuPath> paths;
  for (const CpuPath path :
       {CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvxVnni, CpuPath::kAvx512Vnni,
        CpuPath::kAmxInt8, CpuPath::kAmxBf16, CpuPath::kNeonDot}) {
    if (CanRun(path)) paths.push_back(path);
  }
  return paths;
}

MatMulKernel ProductOf(const CpuKernels& kernels, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kernels.float_matmul.f32;
    case DType::kF16:
      return kernels.float_matmul.f16;
    case DType::kBf16:
      return kernels.float_matmul.bf16;
    case DType::kF8E4M3:
      return kernels.float_matmul.f8_e4m3;
    default:
      return kernels.matmul->of[static_cast<std::size_t>(dtype)];
  }
}

CpuPath DetectCpuPath() { return RunnableCpuPaths().back(); }

}  // namespace doppler
