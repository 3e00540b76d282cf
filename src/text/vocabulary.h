// The tokens of a model: id to bytes and bytes to id, in one arena.
//
// A byte-level token stands for any bytes; a literal token (an added token, or one whose spelling
// leaves the byte alphabet) stands for its own text and is not found by its bytes. Immutable once
// built, safe for concurrent use. Views into it live as long as it does, wherever it is moved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace doppler {

inline constexpr TokenId kNoToken = -1;

// Ids are below this: 16 times the largest vocabulary in use.
inline constexpr std::size_t kMaxVocabulary = std::size_t{1} << 22;

class Vocabulary {
 public:
  class Builder;

  // One more than the greatest id. Ids in between may have no token.
  std::size_t size() const { return offsets_.empty() ? 0 : offsets_.size() - 1; }
  // What `id` stands for; nothing for an id without a token, however large or negative.
  std::string_view Bytes(TokenId id) const;
  // The byte-level token that stands for `bytes`, or kNoToken.
  TokenId Find(std::string_view bytes) const;

 private:
  std::vector<char> arena_;
  std::vector<std::uint32_t> offsets_;  // [size() + 1]
  std::vector<TokenId> buckets_;        // open addressing by the bytes' hash, kNoToken if free
  friend class Builder;
};

// Collects tokens in any order, then makes the tables. Used once.
class Vocabulary::Builder {
 public:
  // A token as a vocabulary spells it, in the byte alphabet. Throws Error for an id out of range.
  void Add(std::string_view spelled, std::int64_t id);
  // An added token, which stands for its own text. It may be in the vocabulary under the same id.
  void AddLiteral(std::string_view text, std::int64_t id);

  // Throws Error, naming the token, if two tokens have one id or one token two ids.
  Vocabulary Finish();

 private:
  struct Record {
    TokenId id = 0;
    std::uint32_t offset = 0;  // in text_
    std::uint32_t size = 0;
    bool byte_level = false;
    bool added = false;
  };

  void Append(std::string_view bytes, std::int64_t id, bool byte_level, bool added);
  std::string_view Text(const Record& record) const;
  void MergeSameIds();
  void CheckAddedTokens(const Vocabulary& vocabulary) const;

  std::string text_;
  std::vector<Record> records_;
};

}  // namespace doppler
