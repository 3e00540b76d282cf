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

// A chunk of sixteen rows of q6_k (row_groups.h), in bytes of one row, in the order in which
// products read it. Its step s is about 16 of the 32 values of each quarter of half s / 2, the
// first or the last: four triples of a unit of nibbles of quarters 0 and 2, one of quarters 1 and
// 3, and one of high bits.
struct Q6KGroupLayout {
  static constexpr int kSubScales = 0;
  static constexpr int kScale = 16;
  static constexpr int kSteps = 18;
  static constexpr int kStepBytes = 48;
  static constexpr int kTripleBytes = 12;
  static constexpr int kEvenQuarters = 0;  // in a triple
  static constexpr int kOddQuarters = 4;
  static constexpr int kHighBits = 8;
};

// 32 values, each `scale * q + minimum`, nibbles as in Q4_0.
struct Q41Layout {
  static constexpr int kScale = 0;    // f16
  static constexpr int kMinimum = 2;  // f16
  static constexpr int kNibbles = 4;  // 16 bytes
  static constexpr int kBytes = 20;
};

// 32 values, each `scale * (q - 16)`: nibbles as in Q4_0, and bit i of the high bits is the fifth
// bit of value i.
struct Q50Layout {
  static constexpr int kScale = 0;     // f16
  static constexpr int kHighBits = 2;  // 4 bytes
  static constexpr int kNibbles = 6;   // 16 bytes
  static constexpr int kBytes = 22;
};

// As Q5_0, each `scale * q + minimum`.
struct Q51Layout {
  static constexpr int kScale = 0;     // f16
  static constexpr int kMinimum = 2;   // f16
  static constexpr int kHighBits = 4;  // 4 bytes
  static constexpr int kNibbles = 8;   // 16 bytes
  static constexpr int kBytes = 24;
};

// 256 values in 16 sub-blocks of 16, each `scale * low * q - minimum * high` with the nibbles of
// the sub-block's byte. Each half of 128 values has 32 bytes; its quarter k takes bits 2 k and 2 k
// + 1.
struct Q2KLayout {
  static constexpr int kSubScales = 0;  // 16 bytes
  static constexpr int kBits = 16;      // 64 bytes
  static constexpr int kScale = 80;     // f16
  static constexpr int kMinimum = 82;   // f16
  static constexpr int kBytes = 84;
};

// 256 values in 16 sub-blocks of 16, each `scale * (sub_scale - 32) * (q - 4)`. Low bits as in
// Q2_K; bit j of kHighBits[i] is bit 2 of q of value i of run j of 32. Sub-scale k has 6 bits: the
// low four are a nibble of byte k % 8, low for k < 8, the upper two are bits 2 (k / 4) of byte 8 +
// k % 4.
struct Q3KLayout {
  static constexpr int kHighBits = 0;    // 32 bytes
  static constexpr int kBits = 32;       // 64 bytes
  static constexpr int kSubScales = 96;  // 12 bytes
  static constexpr int kScale = 108;     // f16
  static constexpr int kBytes = 110;
};

// 32 values, each `scale * level[q]`, nibbles as in Q4_0.
struct Iq4NlLayout {
  static constexpr int kScale = 0;    // f16
  static constexpr int kNibbles = 2;  // 16 bytes
  static constexpr int kBytes = 18;
};

// 256 values in 8 sub-blocks of 32, each `scale * (sub_scale - 32) * level[q]`. Sub-scale j has 6
// bits: nibble j of kLowScales and bits 2 j of kHighScales. Nibbles of a sub-block as in Q4_0.
struct Iq4XsLayout {
  static constexpr int kScale = 0;       // f16
  static constexpr int kHighScales = 2;  // 2 bytes
  static constexpr int kLowScales = 4;   // 4 bytes
  static constexpr int kNibbles = 8;     // 128 bytes
  static constexpr int kBytes = 136;
};

// 32 values, each `2^(exponent - 128) * level[q]`, nibbles as in Q4_0.
struct Mxfp4Layout {
  static constexpr int kExponent = 0;  // 1 byte
  static constexpr int kNibbles = 1;   // 16 bytes
  static constexpr int kBytes = 17;
};

// As Q4_0 with a bf16 scale.
struct Int4G32Layout {
  static constexpr int kScale = 0;    // bf16
  static constexpr int kNibbles = 2;  // 16 bytes
  static constexpr int kBytes = 18;
};

// The formats below hold 256 values in 8 runs of 32; a run has points of eight values (of four in
// IQ3) from the codebooks of iq_tables.h, and each value has a sign bit, set for negative. Seven
// stored signs have an eighth that makes the number of set ones even.

// Run j has an 8-bit index for each four values, in order, and a word of 32 bits: seven signs for
// each eight values, from bit 0, and a sub-scale in bits 28 to 31. A value is `scale * (0.5 +
// sub_scale) / 2 * size`.
struct Iq3XxsLayout {
  static constexpr int kScale = 0;   // f16
  static constexpr int kPoints = 2;  // 64 bytes
  static constexpr int kSigns = 66;  // 32 bytes
  static constexpr int kBytes = 98;
};

// Bit k of high byte j is bit 8 of index k of run j; sub-scale j is nibble j. A value is
// `scale * (1 + 2 * sub_scale) * size`.
struct Iq3SLayout {
  static constexpr int kScale = 0;        // f16
  static constexpr int kPoints = 2;       // 64 bytes
  static constexpr int kHighBits = 66;    // 8 bytes
  static constexpr int kSigns = 74;       // 32 bytes
  static constexpr int kSubScales = 106;  // 4 bytes
  static constexpr int kBytes = 110;
};

// Run j has four 8-bit indices and a word as in IQ3_XXS. A value is
// `scale * (0.5 + sub_scale) / 4 * size`.
struct Iq2XxsLayout {
  static constexpr int kScale = 0;   // f16
  static constexpr int kPoints = 2;  // 64 bytes
  static constexpr int kBytes = 66;
};

// Four 16-bit words per run: an index of 9 bits, then seven signs. The sub-scale of each 16 values
// is a nibble; a value as in IQ2_XXS.
struct Iq2XsLayout {
  static constexpr int kScale = 0;       // f16
  static constexpr int kPoints = 2;      // 64 bytes
  static constexpr int kSubScales = 66;  // 8 bytes
  static constexpr int kBytes = 74;
};

// Indices of 10 bits, the upper two in a byte per run; a value as in IQ2_XS.
struct Iq2SLayout {
  static constexpr int kScale = 0;       // f16
  static constexpr int kPoints = 2;      // 32 bytes
  static constexpr int kSigns = 34;      // 32 bytes
  static constexpr int kHighBits = 66;   // 8 bytes
  static constexpr int kSubScales = 74;  // 8 bytes
  static constexpr int kBytes = 82;
};

// Indices of 11 bits. The 16-bit word of a run has the upper three of each, a sub-scale in bits 12
// to 14 and a sign in bit 15: a value is `scale * (2 * sub_scale + 1) * (point -+ 1/8)`, minus if
// set.
struct Iq1SLayout {
  static constexpr int kScale = 0;      // f16
  static constexpr int kPoints = 2;     // 32 bytes
  static constexpr int kHighBits = 34;  // 16 bytes
  static constexpr int kBytes = 50;
};

// As IQ1_S, with a nibble of three upper bits and a sign for each eight values and a sub-scale of
// three bits for each 16. The upper four bits of the four 16-bit words of sub-scales make up the
// f16 scale, lowest first.
struct Iq1MLayout {
  static constexpr int kPoints = 0;      // 32 bytes
  static constexpr int kHighBits = 32;   // 16 bytes
  static constexpr int kSubScales = 48;  // 8 bytes
  static constexpr int kBytes = 56;
};

}  // namespace doppler
