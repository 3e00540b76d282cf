// What a user is told of a swarm process's news, whoever runs it.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "swarm/messages.h"

namespace doppler {

inline constexpr std::string_view kUnconfinedNotice =
    "this kernel cannot confine the swarm process to its folder";

inline std::string BannedNotice(const BannedMessage& banned) {
  return fmt::format("the peer {} sent wrong bytes, nothing more is taken from it",
                     FormatPeer(banned.peer));
}

inline std::string PardonedNotice(const PardonedMessage& pardoned) {
  return fmt::format(
      "the peer {} had a part in pieces with wrong bytes, but not alone; it is called again",
      FormatPeer(pardoned.peer));
}

}  // namespace doppler
