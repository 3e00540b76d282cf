#include "text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "base/error.h"
#include "text/byte_alphabet.h"

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

TokenId FindPart(const Vocabulary& vocabulary, std::string_view spelled, std::string* bytes,
                 const MergeList& merges, std::size_t rank) {
  const TokenId id = SpelledToBytes(spelled, bytes) ? vocabulary.Find(*bytes) : kNoToken;
  if (id == kNoToken) {
    Throw("merge {} ('{}' '{}') names '{}', which is not in the vocabulary", rank,
          merges.Left(rank), merges.Right(rank), spelled);
  }
  return id;
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

BpeModel::BpeModel(const Vocabulary& vocabulary, const MergeList& merges, bool ignore_merges)
    : ignore_merges_(ignore_merges) {
  for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    const char one = static_cast<char>(byte);
    byte_tokens_[byte] = vocabulary.Find({&one, 1});
  }
  buckets_.resize(std::bit_ceil(merges.size() + merges.size() / 2 + 2));
  std::string left;
  std::string right;
  std::string unused;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    Merge merge{.rank = static_cast<std::uint32_t>(rank)};
    merge.left = FindPart(vocabulary, merges.Left(rank), &left, merges, rank);
    merge.right = FindPart(vocabulary, merges.Right(rank), &right, merges, rank);
    merge.merged = vocabulary.Find(left + right);
    if (merge.merged == kNoToken) {
      Throw("merge {} makes '{}{}', which is not in the vocabulary", rank, merges.Left(rank),
            merges.Right(rank));
    }
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
  if (ignore_merges_) {
    const TokenId whole = vocabulary.Find(word);
    if (whole != kNoToken) return out->push_back(whole);
  }
  MakeSymbols(word, &scratch->symbols_);
  if (word.size() <= kShortWord) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  if (word.empty()) return;
  for (std::uint32_t at = 0; at != BpeScratch::kNone; at = scratch->symbols_[at].next) {
    out->push_back(scratch->symbols_[at].id);
  }
}

void BpeModel::MakeSymbols(std::string_view word, std::vector<BpeScratch::Symbol>* symbols) const {
  DOPPLER_CHECK(word.size() < BpeScratch::kNone);
  symbols->resize(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(word[i]);
    if (byte_tokens_[byte] == kNoToken) {
      Throw("the vocabulary has no token for the byte 0x{:02X}; the tokenizer is incomplete", byte);
    }
    const auto at = static_cast<std::uint32_t>(i);
    (*symbols)[i] = {.id = byte_tokens_[byte],
                     .next = i + 1 < word.size() ? at + 1 : BpeScratch::kNone,
                     .previous = i > 0 ? at - 1 : BpeScratch::kNone};
  }
  for (std::uint32_t i = 0; i + 1 < symbols->size(); ++i) RankPair(symbols, i);
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
