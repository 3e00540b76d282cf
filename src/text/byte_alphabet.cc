#include "text/byte_alphabet.h"

#include <array>
#include <cstddef>

#include "text/utf8.h"

namespace doppler {
namespace {

constexpr std::size_t kFirstBorrowed = 0x100;
constexpr std::size_t kBorrowed = 68;
constexpr std::int16_t kNoByte = -1;

constexpr bool SpelledAsItself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

struct Alphabet {
  std::array<char16_t, 256> character{};
  std::array<std::int16_t, kFirstBorrowed + kBorrowed> byte{};
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.byte) byte = kNoByte;
  unsigned borrowed = kFirstBorrowed;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned character = SpelledAsItself(byte) ? byte : borrowed++;
    alphabet.character[byte] = static_cast<char16_t>(character);
    alphabet.byte[character] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();
static_assert(kAlphabet.character[' '] == 0x120);

}  // namespace

char32_t ByteToCharacter(std::uint8_t byte) { return kAlphabet.character[byte]; }

bool SpelledToBytes(std::string_view spelled, std::string* bytes) {
  bytes->clear();
  for (std::size_t at = 0; at < spelled.size();) {
    const Utf8Step step = DecodeUtf8(spelled, at);
    if (step.code_point >= kAlphabet.byte.size()) return false;
    const std::int16_t byte = kAlphabet.byte[step.code_point];
    if (byte == kNoByte) return false;
    bytes->push_back(static_cast<char>(byte));
    at += step.length;
  }
  return true;
}

std::string BytesToSpelled(std::string_view bytes) {
  std::string spelled;
  for (const char byte : bytes)
    AppendUtf8(ByteToCharacter(static_cast<std::uint8_t>(byte)), &spelled);
  return spelled;
}

}  // namespace doppler
