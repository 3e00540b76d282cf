#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace doppler {
namespace {

constexpr std::size_t kMostPrinted = 40;  // bytes of a token in a message

// A token in a message: in the byte alphabet, so that it can be printed.
std::string Printable(std::string_view bytes) {
  return BytesToSpelled(bytes.substr(0, kMostPrinted)) + (bytes.size() > kMostPrinted ? "..." : "");
}

std::size_t BucketOf(std::string_view bytes, std::size_t buckets) {
  return std::hash<std::string_view>()(bytes) & (buckets - 1);
}

}  // namespace

std::string_view TokenTable::Bytes(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= size()) return {};
  const auto at = static_cast<std::size_t>(id);
  return {arena_.data() + offsets_[at], offsets_[at + 1] - offsets_[at]};
}

void TokenTable::Reserve(std::size_t tokens, std::size_t bytes) {
  offsets_.reserve(tokens + 1);
  arena_.reserve(bytes);
}

void TokenTable::Append(TokenId id, std::string_view bytes) {
  const auto at = static_cast<std::size_t>(id);
  DOPPLER_CHECK(at >= size());
  offsets_.resize(at + 1, static_cast<std::uint32_t>(arena_.size()));
  arena_.insert(arena_.end(), bytes.begin(), bytes.end());
  offsets_.push_back(static_cast<std::uint32_t>(arena_.size()));
}

TokenId Vocabulary::Find(std::string_view bytes) const {
  if (buckets_.empty()) return kNoToken;
  std::size_t bucket = BucketOf(bytes, buckets_.size());
  while (buckets_[bucket] != kNoToken && Bytes(buckets_[bucket]) != bytes) {
    bucket = (bucket + 1) & (buckets_.size() - 1);
  }
  return buckets_[bucket];
}

void Vocabulary::Builder::Add(std::string_view spelled, std::int64_t id) {
  Append(spelled, id, false);
}

void Vocabulary::Builder::AddLiteral(std::string_view text, std::int64_t id) {
  Append(text, id, true);
}

void Vocabulary::Builder::Append(std::string_view text, std::int64_t id, bool added) {
  if (id < 0 || id >= static_cast<std::int64_t>(kMaxVocabulary)) {
    const std::string_view start = text.substr(0, kMostPrinted);
    Throw("token '{}' has id {}; ids are from 0 to {}", start.substr(0, ValidUtf8Prefix(start)), id,
          kMaxVocabulary - 1);
  }
  if (text_.size() + text.size() > std::numeric_limits<std::uint32_t>::max()) {
    Throw("the tokens have more than 4 GiB of text");
  }
  records_.push_back({.id = static_cast<TokenId>(id),
                      .offset = static_cast<std::uint32_t>(text_.size()),
                      .size = static_cast<std::uint32_t>(text.size()),
                      .findable = !added,
                      .added = added});
  text_ += text;
}

std::string_view Vocabulary::Builder::Text(const Record& record) const {
  return std::string_view(text_).substr(record.offset, record.size);
}

// Turns spellings into what they stand for, in place: bytes are never longer than their spelling.
void Vocabulary::Builder::ReadSpelling(TokenSpelling spelling) {
  if (spelling == TokenSpelling::kText) return;
  std::string bytes;
  for (Record& record : records_) {
    if (record.added) continue;
    record.findable = SpelledToBytes(Text(record), &bytes);
    if (!record.findable) continue;
    record.size = static_cast<std::uint32_t>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), text_.begin() + record.offset);
  }
}

// Sorts the records and leaves one for each id. An added token may repeat a vocabulary entry; its
// text, not the entry's bytes, is then what the id stands for.
void Vocabulary::Builder::MergeSameIds(TokenSpelling spelling) {
  std::stable_sort(records_.begin(), records_.end(), [](const Record& a, const Record& b) {
    return a.id != b.id ? a.id < b.id : a.added < b.added;
  });
  std::string bytes;
  std::size_t kept = 0;
  for (const Record& record : records_) {
    if (kept == 0 || records_[kept - 1].id != record.id) {
      records_[kept++] = record;
      continue;
    }
    Record& before = records_[kept - 1];
    const bool respelled = before.findable && spelling == TokenSpelling::kByteAlphabet &&
                           SpelledToBytes(Text(record), &bytes);
    const std::string_view expected = respelled ? std::string_view(bytes) : Text(record);
    if (before.added || !record.added || Text(before) != expected) {
      Throw("tokens '{}' and '{}' both have id {}", Printable(Text(before)),
            Printable(Text(record)), record.id);
    }
    // It stays findable only if text and bytes agree, as they do in ASCII.
    const bool findable = before.findable && Text(before) == Text(record);
    before = record;
    before.findable = findable;
  }
  records_.resize(kept);
}

Vocabulary Vocabulary::Builder::Finish(TokenSpelling spelling) {
  ReadSpelling(spelling);
  MergeSameIds(spelling);
  Vocabulary out;
  if (records_.empty()) return out;
  out.tokens_.Reserve(static_cast<std::size_t>(records_.back().id) + 1, text_.size());
  for (const Record& record : records_) out.tokens_.Append(record.id, Text(record));
  FillBuckets(&out);
  CheckAddedTokens(out, spelling);
  return out;
}

void Vocabulary::Builder::FillBuckets(Vocabulary* vocabulary) const {
  std::vector<TokenId>& buckets = vocabulary->buckets_;
  buckets.assign(std::bit_ceil(2 * records_.size()), kNoToken);
  for (const Record& record : records_) {
    if (!record.findable) continue;
    const std::string_view bytes = Text(record);
    std::size_t bucket = BucketOf(bytes, buckets.size());
    for (; buckets[bucket] != kNoToken; bucket = (bucket + 1) & (buckets.size() - 1)) {
      if (vocabulary->Bytes(buckets[bucket]) == bytes) {
        Throw("token '{}' has two ids, {} and {}", Printable(bytes), buckets[bucket], record.id);
      }
    }
    buckets[bucket] = record.id;
  }
}

void Vocabulary::Builder::CheckAddedTokens(const Vocabulary& vocabulary,
                                           TokenSpelling spelling) const {
  std::string bytes;
  for (const Record& record : records_) {
    if (!record.added) continue;
    bytes = Text(record);
    if (spelling == TokenSpelling::kByteAlphabet && !SpelledToBytes(Text(record), &bytes)) continue;
    const TokenId found = vocabulary.Find(bytes);
    if (found != kNoToken && found != record.id) {
      Throw("added token '{}' has id {}, but the vocabulary gives it {}", Printable(Text(record)),
            record.id, found);
    }
  }
}

}  // namespace doppler
