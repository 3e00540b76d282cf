// Byte-pair encoding: turns a word into tokens by joining, again and again, the neighbouring pair
// of tokens whose merge comes first in the list; of equal ones the leftmost.
//
//   merges 0: h e   1: l l   2: he ll   3: hell o
//   h e l l o -> he l l o -> he ll o -> hell o -> hello
//
// Where the vocabulary is spelled in the byte alphabet a word starts as its bytes, otherwise as its
// characters. A character that is no token becomes its bytes (byte_fallback) or the unknown token.
//
// Immutable, safe for concurrent use with one BpeScratch per thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/vocabulary.h"

namespace doppler {

// The merges as they were written, in order; resolved into ids once the vocabulary is whole.
class MergeList {
 public:
  // Throws Error if a side is empty.
  void Add(std::string_view left, std::string_view right);
  // "left right". Throws Error unless there is exactly one space, with something on either side.
  void AddJoined(std::string_view merge);

  std::size_t size() const { return entries_.size(); }
  std::string_view Left(std::size_t at) const;
  std::string_view Right(std::size_t at) const;

 private:
  struct Entry {
    std::uint32_t offset = 0;  // in text_; the right side follows the left
    std::uint32_t left_size = 0;
    std::uint32_t right_size = 0;
  };
  std::string text_;
  std::vector<Entry> entries_;
};

// The memory that encoding needs; it grows to the longest word met.
class BpeScratch {
  friend class BpeModel;

  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Symbol {
    TokenId id = 0;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    std::uint32_t rank = kNone;  // of the merge with the next symbol; kNone if there is none
    TokenId merged = kNoToken;   // what that merge makes
  };
  std::vector<Symbol> symbols_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | index of the left symbol, smallest on top
};

struct BpeOptions {
  TokenSpelling spelling = TokenSpelling::kByteAlphabet;
  // A word that is a token as a whole becomes that token, merges or not.
  bool ignore_merges = false;
  // Merges count in the order of the ids of what they make, all that make one token alike: how
  // tiktoken joins.
  bool rank_by_token = false;
  // For vocabularies spelled as text. The tokens of bytes are <0x00> to <0xFF>.
  bool byte_fallback = false;
  TokenId unknown = kNoToken;
  bool fuse_unknown = false;  // several unknown characters in a row make one token
};

class BpeModel {
 public:
  BpeModel() = default;
  // Throws Error, naming it, for a merge of or into something that is not in the vocabulary.
  BpeModel(const Vocabulary& vocabulary, const MergeList& merges, const BpeOptions& options);

  // Appends the tokens of `word`, any bytes, in time O(n log n). Throws Error if there is no token
  // for one of its bytes or characters. `vocabulary` is the one that the model was made with.
  void Encode(const Vocabulary& vocabulary, std::string_view word, BpeScratch* scratch,
              std::vector<TokenId>* out) const;

 private:
  struct Merge {
    TokenId left = kNoToken;
    TokenId right = kNoToken;
    std::uint32_t rank = BpeScratch::kNone;
    TokenId merged = kNoToken;
  };

  void ReadMerges(const Vocabulary& vocabulary, const MergeList& merges);
  void Insert(const Merge& merge);
  const Merge& Find(TokenId left, TokenId right) const;
  void EncodePiece(const Vocabulary& vocabulary, std::string_view piece, BpeScratch* scratch,
                   std::vector<TokenId>* out) const;
  void StartWithBytes(std::string_view word, std::vector<BpeScratch::Symbol>* symbols) const;
  void StartWithCharacters(const Vocabulary& vocabulary, std::string_view word,
                           std::vector<BpeScratch::Symbol>* symbols) const;
  bool AddCharacter(const Vocabulary& vocabulary, std::string_view character,
                    std::vector<BpeScratch::Symbol>* symbols) const;
  void AddUnknown(std::string_view character, std::vector<BpeScratch::Symbol>* symbols) const;
  void Link(std::vector<BpeScratch::Symbol>* symbols) const;
  void RankPair(std::vector<BpeScratch::Symbol>* symbols, std::uint32_t left) const;
  void JoinPair(std::vector<BpeScratch::Symbol>* symbols, std::uint32_t left) const;
  void MergeShort(BpeScratch* scratch) const;
  void MergeLong(BpeScratch* scratch) const;

  BpeOptions options_;
  std::array<TokenId, 256> byte_tokens_{};
  std::vector<Merge> buckets_;        // open addressing by the pair, left == kNoToken if free
  bool splits_at_metaspace_ = false;  // no merge reaches from another character to a U+2581
};

}  // namespace doppler
