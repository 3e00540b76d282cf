#include "text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace doppler {
namespace {

// Up to this length looking at every pair costs less than keeping a heap.
constexpr std::size_t kShortWord = 24;

std::size_t HashPair(TokenId left, TokenId right) {
  std::uint64_t key = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
                      static_cast<std::uint32_t>(right);
  key *= 0x9E3779B97F4A7C15u;
  return static_cast<std::size_t>(key ^ (key >> 32));
}

// How vocabularies spelled as text write a byte.
std::string ByteTokenName(std::size_t byte) { return fmt::format("<0x{:02X}>", byte); }

[[noreturn]] void FailMerge(const MergeList& merges, std::size_t rank, const char* verb,
                            std::string_view token) {
  Throw("merge {} ('{}' '{}') {} '{}', which is not in the vocabulary", rank, merges.Left(rank),
        merges.Right(rank), verb, token);
}

}  // namespace

void MergeList::Add(std::string_view left, std::string_view right) {
  if (left.empty() || right.empty()) Throw("merge {} has an empty side", entries_.size());
  if (text_.size() + left.size() + right.size() > std::numeric_limits<std::uint32_t>::max()) {
    Throw("the merges have more than 4 GiB of text");
  }
  entries_.push_back({.offset = static_cast<std::uint32_t>(text_.size()),
                      .left_size = static_cast<std::uint32_t>(left.size()),
                      .right_size = static_cast<std::uint32_t>(right.size())});
  text_ += left;
  text_ += right;
}

void MergeList::AddJoined(std::string_view merge) {
  const std::size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    Throw("merge {} is '{}' instead of two tokens with a space between", entries_.size(), merge);
  }
  Add(merge.substr(0, space), merge.substr(space + 1));
}

std::string_view MergeList::Left(std::size_t at) const {
  return std::string_view(text_).substr(entries_[at].offset, entries_[at].left_size);
}

std::string_view MergeList::Right(std::size_t at) const {
  return std::string_view(text_).substr(entries_[at].offset + entries_[at].left_size,
                                        entries_[at].right_size);
}

BpeModel::BpeModel(const Vocabulary& vocabulary, const MergeList& merges, const BpeOptions& options)
    : options_(options) {
  const bool text = options.spelling == TokenSpelling::kText;
  for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = text ? vocabulary.Find(ByteTokenName(byte))
                              : vocabulary.Find(std::string(1, static_cast<char>(byte)));
  }
  splits_at_metaspace_ = text && !options.ignore_merges && vocabulary.Find(kMetaspace) != kNoToken;
  ReadMerges(vocabulary, merges);
}

void BpeModel::ReadMerges(const Vocabulary& vocabulary, const MergeList& merges) {
  buckets_.resize(std::bit_ceil(merges.size() + merges.size() / 2 + 2));
  std::string left;
  std::string right;
  const auto find = [&](std::string_view spelled, std::string* bytes, std::size_t rank) {
    bool known = true;
    if (options_.spelling == TokenSpelling::kText) {
      *bytes = spelled;
    } else {
      known = SpelledToBytes(spelled, bytes);
    }
    const TokenId id = known ? vocabulary.Find(*bytes) : kNoToken;
    if (id == kNoToken) FailMerge(merges, rank, "names", spelled);
    return id;
  };
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    Merge merge{.rank = static_cast<std::uint32_t>(rank)};
    merge.left = find(merges.Left(rank), &left, rank);
    merge.right = find(merges.Right(rank), &right, rank);
    if (right.starts_with(kMetaspace) && !left.ends_with(kMetaspace)) splits_at_metaspace_ = false;
    left += right;
    merge.merged = vocabulary.Find(left);
    if (merge.merged == kNoToken) {
      FailMerge(merges, rank, "makes",
                std::string(merges.Left(rank)) + std::string(merges.Right(rank)));
    }
    if (options_.rank_by_token) merge.rank = static_cast<std::uint32_t>(merge.merged);
    Insert(merge);
  }
}

// A pair that is listed twice keeps its last rank, as in Hugging Face's reader.
void BpeModel::Insert(const Merge& merge) {
  std::size_t bucket = HashPair(merge.left, merge.right) & (buckets_.size() - 1);
  while (buckets_[bucket].left != kNoToken &&
         (buckets_[bucket].left != merge.left || buckets_[bucket].right != merge.right)) {
    bucket = (bucket + 1) & (buckets_.size() - 1);
  }
  buckets_[bucket] = merge;
}

const BpeModel::Merge& BpeModel::Find(TokenId left, TokenId right) const {
  std::size_t bucket = HashPair(left, right) & (buckets_.size() - 1);
  while (buckets_[bucket].left != kNoToken &&
         (buckets_[bucket].left != left || buckets_[bucket].right != right)) {
    bucket = (bucket + 1) & (buckets_.size() - 1);
  }
  return buckets_[bucket];
}

void BpeModel::Encode(const Vocabulary& vocabulary, std::string_view word, BpeScratch* scratch,
                      std::vector<TokenId>* out) const {
  if (options_.ignore_merges) {
    const TokenId whole = vocabulary.Find(word);
    if (whole != kNoToken) return out->push_back(whole);
  }
  // Without a pre-tokenizer a word is a whole text. Where no merge can reach across, its parts give
  // the same tokens, and short ones are cheaper.
  std::size_t begin = 0;
  std::size_t at = splits_at_metaspace_ ? 0 : std::string_view::npos;
  while (at != std::string_view::npos && (at = word.find(kMetaspace, at)) < word.size()) {
    if (at > begin && !word.substr(begin, at - begin).ends_with(kMetaspace)) {
      EncodePiece(vocabulary, word.substr(begin, at - begin), scratch, out);
      begin = at;
    }
    at += kMetaspace.size();
  }
  EncodePiece(vocabulary, word.substr(begin), scratch, out);
}

void BpeModel::EncodePiece(const Vocabulary& vocabulary, std::string_view piece,
                           BpeScratch* scratch, std::vector<TokenId>* out) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols_;
  symbols.clear();
  if (options_.spelling == TokenSpelling::kText) {
    StartWithCharacters(vocabulary, piece, &symbols);
  } else {
    StartWithBytes(piece, &symbols);
  }
  if (symbols.empty()) return;
  Link(&symbols);
  if (symbols.size() <= kShortWord) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  for (std::uint32_t at = 0; at != BpeScratch::kNone; at = symbols[at].next) {
    out->push_back(symbols[at].id);
  }
}

void BpeModel::StartWithBytes(std::string_view word,
                              std::vector<BpeScratch::Symbol>* symbols) const {
  symbols->resize(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(word[i]);
    if (byte_tokens_[byte] == kNoToken) {
      Throw("the vocabulary has no token for the byte 0x{:02X}; the tokenizer is incomplete", byte);
    }
    (*symbols)[i] = {.id = byte_tokens_[byte]};
  }
}

void BpeModel::StartWithCharacters(const Vocabulary& vocabulary, std::string_view word,
                                   std::vector<BpeScratch::Symbol>* symbols) const {
  bool known = true;
  for (std::size_t at = 0; at < word.size();) {
    const Utf8Step step = DecodeUtf8(word, at);
    const std::string_view character = word.substr(at, step.length);
    at += step.length;
    const bool known_before = known;
    known = AddCharacter(vocabulary, character, symbols);
    if (!known && (known_before || !options_.fuse_unknown)) AddUnknown(character, symbols);
  }
}

// Adds the token of `character` or the tokens of its bytes. False if it has neither.
bool BpeModel::AddCharacter(const Vocabulary& vocabulary, std::string_view character,
                            std::vector<BpeScratch::Symbol>* symbols) const {
  const TokenId id = vocabulary.Find(character);
  if (id != kNoToken) {
    symbols->push_back({.id = id});
    return true;
  }
  const auto token_of = [&](char byte) { return byte_tokens_[static_cast<std::uint8_t>(byte)]; };
  const bool has_bytes =
      options_.byte_fallback && std::all_of(character.begin(), character.end(),
                                            [&](char byte) { return token_of(byte) != kNoToken; });
  if (!has_bytes) return false;
  for (const char byte : character) symbols->push_back({.id = token_of(byte)});
  return true;
}

void BpeModel::AddUnknown(std::string_view character,
                          std::vector<BpeScratch::Symbol>* symbols) const {
  if (options_.unknown == kNoToken) {
    // A character of one byte past ASCII is a byte that is no UTF-8.
    const bool is_text = character.size() > 1 || ByteAt(character, 0) < 0x80;
    Throw("the vocabulary has no token for the character '{}' and none for unknown ones",
          is_text ? std::string(character) : fmt::format("0x{:02X}", ByteAt(character, 0)));
  }
  symbols->push_back({.id = options_.unknown});
}

void BpeModel::Link(std::vector<BpeScratch::Symbol>* symbols) const {
  DOPPLER_CHECK(symbols->size() < BpeScratch::kNone);
  const auto size = static_cast<std::uint32_t>(symbols->size());
  for (std::uint32_t i = 0; i < size; ++i) {
    (*symbols)[i].next = i + 1 < size ? i + 1 : BpeScratch::kNone;
    (*symbols)[i].previous = i > 0 ? i - 1 : BpeScratch::kNone;
  }
  for (std::uint32_t i = 0; i + 1 < size; ++i) RankPair(symbols, i);
}

void BpeModel::RankPair(std::vector<BpeScratch::Symbol>* symbols, std::uint32_t left) const {
  BpeScratch::Symbol& symbol = (*symbols)[left];
  symbol.rank = BpeScratch::kNone;
  if (symbol.next == BpeScratch::kNone) return;
  const Merge& merge = Find(symbol.id, (*symbols)[symbol.next].id);
  symbol.rank = merge.rank;
  symbol.merged = merge.merged;
}

// Makes one symbol of `left` and the next, and ranks it anew with its neighbours.
void BpeModel::JoinPair(std::vector<BpeScratch::Symbol>* symbols, std::uint32_t left) const {
  BpeScratch::Symbol& symbol = (*symbols)[left];
  BpeScratch::Symbol& gone = (*symbols)[symbol.next];
  symbol.id = symbol.merged;
  symbol.next = gone.next;
  gone.rank = BpeScratch::kNone;
  if (gone.next != BpeScratch::kNone) (*symbols)[gone.next].previous = left;
  RankPair(symbols, left);
  if (symbol.previous != BpeScratch::kNone) RankPair(symbols, symbol.previous);
}

void BpeModel::MergeShort(BpeScratch* scratch) const {
  auto& symbols = scratch->symbols_;
  for (;;) {
    const auto best =
        std::min_element(symbols.begin(), symbols.end(),
                         [](const auto& a, const auto& b) { return a.rank < b.rank; });
    if (best == symbols.end() || best->rank == BpeScratch::kNone) return;
    JoinPair(&symbols, static_cast<std::uint32_t>(best - symbols.begin()));
  }
}

void BpeModel::MergeLong(BpeScratch* scratch) const {
  auto& symbols = scratch->symbols_;
  auto& heap = scratch->heap_;
  heap.clear();
  const auto push = [&](std::uint32_t at) {
    if (symbols[at].rank == BpeScratch::kNone) return;
    heap.push_back((static_cast<std::uint64_t>(symbols[at].rank) << 32) | at);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (std::uint32_t i = 0; i < symbols.size(); ++i) push(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const std::uint64_t top = heap.back();
    heap.pop_back();
    const auto at = static_cast<std::uint32_t>(top);
    // An entry is stale once its symbol was joined into another or ranked anew.
    if (symbols[at].rank != top >> 32) continue;
    JoinPair(&symbols, at);
    push(at);
    if (symbols[at].previous != BpeScratch::kNone) push(symbols[at].previous);
  }
}

}  // namespace doppler
