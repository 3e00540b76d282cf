// What GGUF files call a tensor.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/families.h"
#include "model/tensors.h"

namespace doppler {

// "blk.3.", "attn_q" and ".weight" of blk.3.attn_q.weight. The views refer to constants.
struct GgufName {
  std::string block;
  std::string_view word;
  std::string_view kind;

  std::string Full() const { return Full(word); }
  std::string Full(std::string_view other) const;
  // The other word that some architectures use for the same.
  std::optional<std::string_view> Synonym() const;
  // "ffn_up" of "ffn_up_exps", for files with a tensor for each expert.
  // REQUIRES: the name of stacked experts.
  std::string_view WordOfOne() const;
};

// The experts of a layer, which are stacked, have one name.
GgufName GgufNameOf(const TensorSpec& spec);

// Whether the rows of each of the tensor's heads stand in the order 0, half, 1, half + 1, ...
bool IsInterleavedInGguf(const TensorSpec& spec, const Family& family);

}  // namespace doppler
