// Bencoding (BEP 3): the notation of torrents. Strict: what has two spellings is refused, so that a
// value has one text and one hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace doppler {

// A value in a text that was parsed. Its strings are parts of that text, which must outlive it.
class BencodeValue {
 public:
  enum class Kind : std::uint8_t { kInteger, kString, kList, kDict };

  Kind kind() const { return kind_; }
  // The value as it stands in the text.
  std::string_view raw() const { return raw_; }

  // Each throws Error, which names `what`, if the value is of another kind.
  std::int64_t Integer(std::string_view what) const;
  std::string_view String(std::string_view what) const;
  const std::vector<BencodeValue>& List(std::string_view what) const;
  const std::vector<std::pair<std::string_view, BencodeValue>>& Dict(std::string_view what) const;

  // The member of a dictionary, null if there is none.
  const BencodeValue* Find(std::string_view key) const;

 private:
  friend class BencodeParser;

  Kind kind_ = Kind::kInteger;
  std::int64_t integer_ = 0;
  std::string_view string_;
  std::string_view raw_;
  std::vector<BencodeValue> list_;
  std::vector<std::pair<std::string_view, BencodeValue>> dict_;  // by key, ascending
};

// Throws Error for what is not one value in its one spelling: integers without leading zeros, keys
// ascending. Nesting and the number of values are bounded.
BencodeValue ParseBencode(std::string_view text);

// Writes a value from beginning to end. The caller gives the keys of a dictionary in ascending
// order.
class BencodeWriter {
 public:
  BencodeWriter& Integer(std::int64_t value);
  BencodeWriter& String(std::string_view value);
  BencodeWriter& OpenList();
  BencodeWriter& OpenDict();
  BencodeWriter& Close();
  // A value that is written already.
  BencodeWriter& Raw(std::string_view value);

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace doppler
