// Quantised weights of hub checkpoints: what config.json says about them, and where the scales
// stand that belong to a tensor. docs/format.md says how the artifact stores them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backend/dtype.h"
#include "base/function_ref.h"
#include "convert/checkpoint.h"

namespace doppler {

enum class HubQuantization : std::uint8_t {
  kNone,
  kMxfp4,  // nibbles in NAME_blocks, exponents in NAME_scales
  kFp8,    // E4M3 in NAME.weight, scales of 128 x 128 in NAME.weight_scale_inv
  kInt4,   // compressed-tensors: NAME.weight_packed, NAME.weight_scale, NAME.weight_shape
};

// Reads `quantization_config`. Throws Error, by name, for a method, a group size or a number of
// bits that Doppler cannot compute with. `where` names the file in messages.
HubQuantization ParseHubQuantization(std::string_view config_json, const std::string& where);

// The format that a tensor of such a checkpoint has, as makers publish them: experts in mxfp4 or
// int4_g32, experts and the layers' projections in FP8, all else in bf16.
DType PublishedFormat(HubQuantization quantization, const TensorSpec& spec);

// Nibbles of the hub, whose byte i holds value 2 i low and value 2 i + 1 high, to those of a block,
// whose byte i holds value i low and value i + 16 high, with the scale's bytes before each 16. No
// value changes, and SplitBlocks undoes it.
// REQUIRES: 16 bytes of nibbles for each scale, and `blocks` fits exactly.
void JoinBlocks(std::span<const std::byte> nibbles, std::span<const std::byte> scales,
                std::size_t scale_bytes, std::span<std::byte> blocks);
void SplitBlocks(std::span<const std::byte> blocks, std::size_t scale_bytes,
                 std::span<std::byte> nibbles, std::span<std::byte> scales);

// StreamTensor for a tensor with `scales`.
void StreamWithScales(const Checkpoint& checkpoint, const SourceTensor& tensor,
                      FunctionRef<void(std::span<const std::byte>)> use);

// The values of an f8_e4m3 tensor as f32, in whole rows.
void StreamF8AsFloats(const Checkpoint& checkpoint, const SourceTensor& tensor,
                      FunctionRef<void(std::span<const std::byte>)> use);

}  // namespace doppler
