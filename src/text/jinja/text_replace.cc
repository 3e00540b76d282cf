#include "text/jinja/text_replace.h"

#include <algorithm>

#include "text/jinja/python_text.h"

namespace doppler::jinja {

Value ReplaceText(Runtime& runtime, const std::string& text, const std::string& old_text,
                  const std::string& new_text, std::int64_t count) {
  runtime.meter.Make(text.size());
  std::uint64_t places = CountOf(text, old_text);
  if (count >= 0) places = std::min(places, static_cast<std::uint64_t>(count));
  runtime.meter.Reserve(places, new_text.size());
  std::string out;
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < places; ++i) {
    if (old_text.empty()) {
      // Between all characters, before the first and after the last.
      if (i > 0) {
        const std::string_view next = Characters(std::string_view(text).substr(at, 4)).front();
        out += next;
        at += next.size();
      }
      out += new_text;
      continue;
    }
    const std::size_t found = text.find(old_text, at);
    out.append(text, at, found - at);
    out += new_text;
    at = found + old_text.size();
  }
  out.append(text, at);
  return Value::String(std::move(out));
}

}  // namespace doppler::jinja
