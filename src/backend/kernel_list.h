// The one list of kernels. The tests compare every kernel with the reference backend, of every
// type, on every path and in every odd shape; backend_bench times the same entries in large ones.
#pragma once

#include "backend/kernel_attention.h"
#include "backend/kernel_products.h"
#include "backend/kernel_rows.h"

namespace doppler {

// Every kernel of the interface: what Backend declares below Reserve.
inline std::vector<KernelSpec> AllKernels() {
  std::vector<KernelSpec> all;
  AddProducts(all);
  AddRowKernels(all);
  AddKvKernels(all);
  return all;
}

// An entry on one path.
struct KernelCase {
  KernelSpec spec;
  DType type = DType::kF32;
  CpuPath path = CpuPath::kPortable;

  // "MatMul/avx2/q4_k", say. A kernel without weights and KV has no type.
  std::string Name() const {
    std::string name = spec.name + "/" + std::string(CpuPathName(path));
    if (spec.types.size() > 1) name += "/" + std::string(DTypeName(type));
    return name;
  }
};

inline std::vector<KernelCase> AllKernelCases() {
  std::vector<KernelCase> cases;
  for (const KernelSpec& spec : AllKernels()) {
    for (const CpuPath path : RunnableCpuPaths()) {
      for (const DType type : spec.types) cases.push_back({spec, type, path});
    }
  }
  return cases;
}

}  // namespace doppler
