#include "model/stored_layout.h"

#include <algorithm>
#include <array>

#include "backend/row_groups.h"

namespace doppler {

bool IsReadWhole(const TensorSpec& spec) {
  if (spec.role == TensorRole::kExpert) return true;
  constexpr std::array<std::string_view, 3> kReadByHead = {"kv_b_proj", "k_b_proj", "v_b_proj"};
  return spec.role == TensorRole::kProjection &&
         std::ranges::none_of(kReadByHead, [&](std::string_view part) {
           return spec.name.find(part) != std::string::npos;
         });
}

WeightLayout StoredLayout(const TensorSpec& spec, DType dtype, WeightLayout wanted) {
  const bool can =
      IsGrouped(wanted) && IsReadWhole(spec) && CanGroupRows(dtype, spec.shape.front());
  return can ? GroupLayoutOf(dtype) : WeightLayout::kRow;
}

}  // namespace doppler
