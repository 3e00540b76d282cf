// Where experts stand in an artifact, how their records are read in parts, and what sizes of slots
// hold them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "format/manifest.h"
#include "store/artifact.h"

namespace doppler {

enum class ExpertPart : std::uint8_t { kGate, kUp, kDown };
inline constexpr std::size_t kExpertParts = 3;
inline constexpr std::array<ExpertPart, kExpertParts> kAllExpertParts = {
    ExpertPart::kGate, ExpertPart::kUp, ExpertPart::kDown};

// One expert's projections in memory.
struct ExpertView {
  WeightMatrix gate;  // [ffn_dim, model_dim]
  WeightMatrix up;    // [ffn_dim, model_dim]
  WeightMatrix down;  // [model_dim, ffn_dim]
};

// An expert's place in the artifact, with all that a slot must hold to check it. It is read in
// steps of equal size, the last of which may be shorter.
struct ExpertSource {
  ExpertRecord record;
  Extent extent;               // covers the record
  Bytes step = 0;              // bytes of one read
  bool checked_whole = false;  // the steps cannot be verified one by one

  Bytes SlotBytes() const { return AlignUp(extent.size, kDirectAlignment); }
  std::size_t Steps() const { return static_cast<std::size_t>((extent.size + step - 1) / step); }
  Extent StepExtent(std::size_t index) const;
  // Whether any byte of that projection is in the step.
  bool StepHolds(std::size_t index, ExpertPart part) const;
};

// [moe layer][expert]; empty for a layer without experts.
using ExpertTable = std::vector<std::vector<ExpertSource>>;

// One read: large enough for a solid-state disk's full rate with a few of them at once, small
// enough that the first projection of a record is there long before the last.
inline constexpr Bytes kStepBytes = 512 * kKiB;

// REQUIRES: every layer of `experts_of_layer` gives its number of experts, 0 for none; `step` is a
// multiple of kDirectAlignment.
ExpertTable FindExperts(const Artifact& artifact, std::span<const int> experts_of_layer,
                        Bytes step = kStepBytes);

// Slots of one size and the records that they are meant for.
struct SlotClass {
  Bytes bytes = 0;
  std::size_t records = 0;
  friend bool operator==(const SlotClass&, const SlotClass&) = default;
};

// The sizes of slots for a table's records, largest first. Layers that differ in quantisation have
// records of different sizes; sizes that differ by less than a sixteenth share a class. A record
// can stand in any slot of its class or of one before it.
std::vector<SlotClass> SlotClassesOf(const ExpertTable& table);

// The class of a record: the last whose slots hold it.
std::size_t ClassOf(std::span<const SlotClass> classes, Bytes record);

// Deals slots out, [class]: first `needed` of the largest size, which hold any record; then one by
// one to the class of whose records the smallest part has one, as long as `budget` and `most` last.
// A slot costs its bytes and `overhead(bytes)`. Empty if not even the needed slots fit.
std::vector<std::size_t> DealSlots(std::span<const SlotClass> classes, std::size_t needed,
                                   Bytes budget, std::size_t most, Bytes (*overhead)(Bytes));

}  // namespace doppler
