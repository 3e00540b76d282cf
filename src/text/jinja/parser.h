// From tokens to a syntax tree: Jinja's grammar with the tags that chat templates use. Templates
// that read other templates (include, import, extends, block) are refused.
#pragma once

#include <string_view>

#include "text/jinja/syntax.h"

namespace doppler::jinja {

// Throws Error, with the line, for what is no template, or nests too deeply.
Block ParseTemplate(std::string_view source);

}  // namespace doppler::jinja
