// str.replace, which a filter and a method share.
#pragma once

#include <cstdint>
#include <string>

#include "text/jinja/runtime.h"

namespace doppler::jinja {

// The first `count` of `old_text` become `new_text`; negative: all. The result is counted before
// it is made.
Value ReplaceText(Runtime& runtime, const std::string& text, const std::string& old_text,
                  const std::string& new_text, std::int64_t count);

}  // namespace doppler::jinja
