// A network that has nothing but its own loopback, for tests: nothing is sent to anybody, and what
// is done to it harms nobody.
#pragma once

#include <functional>
#include <string>

namespace doppler {

// One of TEST-NET-3, which no private network has. The loopback of such a network has it, too.
inline constexpr const char* kPublicAddress = "203.0.113.7";

// Runs `body` in a network namespace of its own, in another thread: also the processes that it
// starts are in there. Says why that cannot be (Linux, privileges), or nothing.
std::string InItsOwnNetwork(const std::function<void()>& body);

}  // namespace doppler
