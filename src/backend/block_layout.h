// Where the parts of a quantised block lie, in bytes from its start. docs/format.md describes the
// layouts in prose. Only constants: files built for one instruction set may include this.
#pragma once

namespace doppler {

// 32 values, each `scale * q`.
struct Q80Layout {
  static constexpr int kScale = 0;   // f16
  static constexpr int kValues = 2;  // 32 x int8
  static constexpr int kBytes = 34;
};

// 32 values, each `scale * (q - 8)`. Byte i holds value i low and value i + 16 high.
struct Q40Layout {
  static constexpr int kScale = 0;    // f16
  static constexpr int kNibbles = 2;  // 16 bytes
  static constexpr int kBytes = 18;
};

// 256 values in 8 sub-blocks of 32, each `scale * sub_scale * q - minimum * sub_minimum`. The 6-bit
// sub-scales and sub-minimums are packed into 12 bytes: bytes 0-3 hold the scales 0-3 and bytes 4-7
// the minimums 0-3 in their low 6 bits; byte 8 + i holds the low 4 bits of scale 4 + i and of
// minimum 4 + i, whose upper 2 bits are the upper bits of bytes i and 4 + i. Of the nibbles, run j
// of 32 bytes holds sub-block 2 j low and 2 j + 1 high.
struct Q4KLayout {
  static constexpr int kScale = 0;      // f16
  static constexpr int kMinimum = 2;    // f16
  static constexpr int kSubScales = 4;  // 12 bytes
  static constexpr int kNibbles = 16;   // 128 bytes
  static constexpr int kBytes = 144;
};

// As Q4_K with a fifth bit: bit j of kHighBits[i] belongs to value i of sub-block j.
struct Q5KLayout {
  static constexpr int kScale = 0;      // f16
  static constexpr int kMinimum = 2;    // f16
  static constexpr int kSubScales = 4;  // 12 bytes
  static constexpr int kHighBits = 16;  // 32 bytes
  static constexpr int kNibbles = 48;   // 128 bytes
  static constexpr int kBytes = 176;
};

// 256 values in 16 sub-blocks of 16, each `scale * sub_scale * (q - 32)`. Each half of 128 values
// has 64 bytes of nibbles and 32 of high bits; its quarter k of 32 values takes the nibbles of run
// k % 2, low for k < 2 and high otherwise, and bits 2 k and 2 k + 1 of the high bits.
struct Q6KLayout {
  static constexpr int kNibbles = 0;      // 128 bytes
  static constexpr int kHighBits = 128;   // 64 bytes
  static constexpr int kSubScales = 192;  // 16 x int8
  static constexpr int kScale = 208;      // f16
  static constexpr int kBytes = 210;
};

}  // namespace doppler
