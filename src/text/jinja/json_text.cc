// Python's json.dumps, as the filter tojson of transformers calls it.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"
#include "text/utf8.h"

namespace doppler::jinja {
namespace {

class JsonWriter {
 public:
  explicit JsonWriter(const JsonFormat& format) : format_(format) {}

  std::string Run(const Value& value) {
    Write(value, 0);
    return std::move(out_);
  }

 private:
  void Write(const Value& value, int level) {
    if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.boolean() ? "true" : "false";
    } else if (value.is_int()) {
      out_ += std::to_string(value.integer());
    } else if (value.is_float()) {
      out_ += Number(value.number());
    } else if (value.is_string()) {
      Quote(value.text());
    } else if (value.is_list()) {
      WriteList(value.items(), level);
    } else if (value.is_dict()) {
      WriteDict(value.dict(), level);
    } else if (value.is_undefined()) {
      Throw("tojson: {}", value.UndefinedMessage());
    } else {
      Throw("a {} cannot be written as JSON", value.TypeName());
    }
  }

  static std::string Number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return FloatText(value);
  }

  void Line(int level) {
    if (!format_.indented) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += format_.indent;
  }

  void WriteList(const Items& items, int level) {
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += format_.item_separator;
      Line(level + 1);
      Write(items[i], level + 1);
    }
    if (!items.empty()) Line(level);
    out_ += ']';
  }

  static std::string Key(const Value& key) {
    if (key.is_string()) return key.text();
    if (key.is_none()) return "null";
    if (key.is_bool()) return key.boolean() ? "true" : "false";
    return key.is_float() ? Number(key.number()) : std::to_string(key.integer());
  }

  void WriteDict(const Dict& dict, int level) {
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (format_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [](const auto* left, const auto* right) {
        return Less(left->first, right->first);
      });
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += format_.item_separator;
      Line(level + 1);
      Quote(Key(entries[i]->first));
      out_ += format_.key_separator;
      Write(entries[i]->second, level + 1);
    }
    if (!entries.empty()) Line(level);
    out_ += '}';
  }

  void Quote(std::string_view text) {
    constexpr std::string_view kSpecial = "\"\\\n\r\t\b\f";
    constexpr std::string_view kLetters = "\"\\nrtbf";
    out_ += '"';
    ForEachCharacter(text, [&](std::string_view character) {
      const std::size_t special = kSpecial.find(character);
      const auto byte = static_cast<unsigned char>(character[0]);
      if (special != std::string_view::npos) {
        out_ += '\\';
        out_ += kLetters[special];
      } else if (byte < 0x20) {
        out_ += fmt::format("\\u{:04x}", unsigned{byte});
      } else if (format_.ensure_ascii && byte >= 0x7F) {
        Escape(DecodeUtf8(character, 0).code_point);
      } else {
        out_ += character;
      }
    });
    out_ += '"';
  }

  // UTF-16, as JSON's \u wants it.
  void Escape(char32_t code_point) {
    constexpr char32_t kPlane = 0x10000;
    if (code_point < kPlane) {
      out_ += fmt::format("\\u{:04x}", static_cast<unsigned>(code_point));
      return;
    }
    const auto rest = static_cast<unsigned>(code_point - kPlane);
    out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
  }

  const JsonFormat& format_;
  std::string out_;
};

}  // namespace

std::string ToJson(const Value& value, const JsonFormat& format) {
  return JsonWriter(format).Run(value);
}

}  // namespace doppler::jinja
