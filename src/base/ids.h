// Numbers that must not be mixed up: each is a type of its own.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace doppler {

template <typename Tag>
struct Id {
  std::int32_t value = 0;

  constexpr Id() = default;
  constexpr explicit Id(std::int32_t v) : value(v) {}
  constexpr explicit Id(std::size_t v) : value(static_cast<std::int32_t>(v)) {}
  constexpr std::size_t index() const { return static_cast<std::size_t>(value); }
  friend constexpr auto operator<=>(Id, Id) = default;
};

using LayerId = Id<struct LayerTag>;
using ExpertId = Id<struct ExpertTag>;
using ShardId = Id<struct ShardTag>;

// A token's number in the vocabulary. A plain integer: files and kernels hold arrays of them.
using TokenId = std::int32_t;

}  // namespace doppler
