#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "base/error.h"
#include "text/byte_alphabet.h"

namespace doppler {
namespace {

// A token in a message: in the byte alphabet, so that it can be printed, and not too long.
std::string Printable(std::string_view bytes) {
  constexpr std::size_t kMost = 40;
  return BytesToSpelled(bytes.substr(0, kMost)) + (bytes.size() > kMost ? "..." : "");
}

std::size_t BucketOf(std::string_view bytes, std::size_t buckets) {
  return std::hash<std::string_view>()(bytes) & (buckets - 1);
}

}  // namespace

std::string_view Vocabulary::Bytes(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= size()) return {};
  const auto at = static_cast<std::size_t>(id);
  return {arena_.data() + offsets_[at], offsets_[at + 1] - offsets_[at]};
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
  std::string bytes;
  const bool byte_level = SpelledToBytes(spelled, &bytes);
  Append(byte_level ? bytes : spelled, id, byte_level, false);
}

void Vocabulary::Builder::AddLiteral(std::string_view text, std::int64_t id) {
  Append(text, id, false, true);
}

void Vocabulary::Builder::Append(std::string_view bytes, std::int64_t id, bool byte_level,
                                 bool added) {
  if (id < 0 || id >= static_cast<std::int64_t>(kMaxVocabulary)) {
    Throw("token '{}' has id {}; ids are from 0 to {}", Printable(bytes), id, kMaxVocabulary - 1);
  }
  if (text_.size() + bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
    Throw("the tokens have more than 4 GiB of text");
  }
  records_.push_back({.id = static_cast<TokenId>(id),
                      .offset = static_cast<std::uint32_t>(text_.size()),
                      .size = static_cast<std::uint32_t>(bytes.size()),
                      .byte_level = byte_level,
                      .added = added});
  text_ += bytes;
}

std::string_view Vocabulary::Builder::Text(const Record& record) const {
  return std::string_view(text_).substr(record.offset, record.size);
}

// Sorts the records and leaves one for each id. An added token may repeat a vocabulary entry; its
// text, not the entry's bytes, is then what the id stands for.
void Vocabulary::Builder::MergeSameIds() {
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
    const bool respelled = before.byte_level && SpelledToBytes(Text(record), &bytes);
    const std::string_view expected = respelled ? std::string_view(bytes) : Text(record);
    if (before.added || !record.added || Text(before) != expected) {
      Throw("tokens '{}' and '{}' both have id {}", Printable(Text(before)),
            Printable(Text(record)), record.id);
    }
    // It stays findable only if text and bytes agree, as they do in ASCII.
    const bool byte_level = before.byte_level && Text(before) == Text(record);
    before = record;
    before.byte_level = byte_level;
  }
  records_.resize(kept);
}

Vocabulary Vocabulary::Builder::Finish() {
  MergeSameIds();
  Vocabulary out;
  if (records_.empty()) return out;
  const auto size = static_cast<std::size_t>(records_.back().id) + 1;
  out.arena_.reserve(text_.size());
  out.offsets_.reserve(size + 1);
  for (const Record& record : records_) {
    out.offsets_.resize(static_cast<std::size_t>(record.id) + 1,
                        static_cast<std::uint32_t>(out.arena_.size()));
    const std::string_view text = Text(record);
    out.arena_.insert(out.arena_.end(), text.begin(), text.end());
  }
  out.offsets_.push_back(static_cast<std::uint32_t>(out.arena_.size()));

  out.buckets_.assign(std::bit_ceil(2 * records_.size()), kNoToken);
  for (const Record& record : records_) {
    if (!record.byte_level) continue;
    const std::string_view bytes = Text(record);
    std::size_t bucket = BucketOf(bytes, out.buckets_.size());
    for (; out.buckets_[bucket] != kNoToken; bucket = (bucket + 1) & (out.buckets_.size() - 1)) {
      if (out.Bytes(out.buckets_[bucket]) == bytes) {
        Throw("token '{}' has two ids, {} and {}", Printable(bytes), out.buckets_[bucket],
              record.id);
      }
    }
    out.buckets_[bucket] = record.id;
  }
  CheckAddedTokens(out);
  return out;
}

void Vocabulary::Builder::CheckAddedTokens(const Vocabulary& vocabulary) const {
  std::string bytes;
  for (const Record& record : records_) {
    if (!record.added || !SpelledToBytes(Text(record), &bytes)) continue;
    const TokenId found = vocabulary.Find(bytes);
    if (found != kNoToken && found != record.id) {
      Throw("added token '{}' has id {}, but the vocabulary gives it {}", Printable(Text(record)),
            record.id, found);
    }
  }
}

}  // namespace doppler
