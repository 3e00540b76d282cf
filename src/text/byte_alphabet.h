// The printable alphabet in which byte-level vocabularies are written: each of the 256 bytes has
// one character, so that a token of any bytes can stand in a JSON string. Printable Latin-1 bytes
// are spelled as themselves, the other 68 as U+0100 and on, in order: a space is U+0120.
// Source: the byte encoder of GPT-2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace doppler {

char32_t ByteToCharacter(std::uint8_t byte);

// Replaces `bytes` by what `spelled` stands for. False, with `bytes` unspecified, if `spelled` has
// a character outside the alphabet.
bool SpelledToBytes(std::string_view spelled, std::string* bytes);

std::string BytesToSpelled(std::string_view bytes);

}  // namespace doppler
