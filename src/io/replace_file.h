// Files that are replaced as a whole.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace doppler {

// Puts a file with these bytes in place of whatever stands at `path`, at once or not at all.
// Throws Error as File does.
void ReplaceFile(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace doppler
