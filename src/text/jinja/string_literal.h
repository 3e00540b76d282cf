// Escapes in a template's strings.
#pragma once

#include <string>
#include <string_view>

namespace doppler::jinja {

// What stands between the quotes, its escapes resolved as Python does: \n, \x41, \u00e9, a
// backslash before a newline, octal; an escape that Python does not know stays as it is. Throws
// Error, with the line, for one that is cut off or no character.
std::string UnescapeString(std::string_view text, int line);

}  // namespace doppler::jinja
