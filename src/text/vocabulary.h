// The tokens of a model: id to bytes and bytes to id, in one arena.
//
// A vocabulary spells its tokens in the byte alphabet or as plain text. An added token, and one
// whose spelling leaves the byte alphabet, stands for its own text and is not found by its bytes.
// Immutable once built, safe for concurrent use. Views into it live as long as it does, wherever
// it is moved.
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

// Some bytes for each id.
class TokenTable {
 public:
  // One more than the greatest id. Ids in between may have no token.
  std::size_t size() const { return offsets_.empty() ? 0 : offsets_.size() - 1; }
  // What `id` stands for; nothing for an id without a token, however large or negative.
  std::string_view Bytes(TokenId id) const;

  void Reserve(std::size_t tokens, std::size_t bytes);
  // REQUIRES: id >= size(). Ids that are passed over have no token.
  void Append(TokenId id, std::string_view bytes);

 private:
  std::vector<char> arena_;
  std::vector<std::uint32_t> offsets_;  // [size() + 1]
};

// How the entries of a vocabulary are written.
enum class TokenSpelling : std::uint8_t {
  kByteAlphabet,  // see byte_alphabet.h
  kText,          // as they are, in UTF-8
};

class Vocabulary {
 public:
  class Builder;

  std::size_t size() const { return tokens_.size(); }
  std::string_view Bytes(TokenId id) const { return tokens_.Bytes(id); }
  // The entry of the vocabulary that stands for `bytes`, or kNoToken.
  TokenId Find(std::string_view bytes) const;

 private:
  TokenTable tokens_;
  std::vector<TokenId> buckets_;  // open addressing by the bytes' hash, kNoToken if free
  friend class Builder;
};

// Collects tokens in any order, then makes the tables. Used once.
class Vocabulary::Builder {
 public:
  // A token as the vocabulary spells it. Throws Error for an id out of range.
  void Add(std::string_view spelled, std::int64_t id);
  // An added token, which stands for its own text. It may be in the vocabulary under the same id.
  void AddLiteral(std::string_view text, std::int64_t id);

  // Throws Error, naming the token, if two tokens have one id or one token two ids.
  Vocabulary Finish(TokenSpelling spelling);

 private:
  struct Record {
    TokenId id = 0;
    std::uint32_t offset = 0;  // in text_
    std::uint32_t size = 0;
    bool findable = false;
    bool added = false;
  };

  void Append(std::string_view text, std::int64_t id, bool added);
  std::string_view Text(const Record& record) const;
  void ReadSpelling(TokenSpelling spelling);
  void MergeSameIds(TokenSpelling spelling);
  void FillBuckets(Vocabulary* vocabulary) const;
  void CheckAddedTokens(const Vocabulary& vocabulary, TokenSpelling spelling) const;

  std::string text_;
  std::vector<Record> records_;
};

}  // namespace doppler
