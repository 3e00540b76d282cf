// Which experts to fetch when not all are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace doppler {

// Marks ceil(part x N) of N experts: first those of which most pieces are there, then others by
// chance, so that many machines with a part of the model hold different ones.
std::vector<bool> ChooseExperts(const std::vector<std::size_t>& pieces_there, double part,
                                std::uint64_t seed);

}  // namespace doppler
