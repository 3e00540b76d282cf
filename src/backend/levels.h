// What the four bits of non-linear formats stand for. Only constants: files built for one
// instruction set may include this.
#pragma once

namespace doppler {

// Of iq4_nl and iq4_xs, as ggml chose them.
inline constexpr signed char kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
// Twice what FP4 (E2M1) stands for in the OCP "Microscaling" specification.
inline constexpr signed char kFp4Levels[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                               0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace doppler
