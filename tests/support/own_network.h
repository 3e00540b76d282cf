// A network that has nothing but its own loopback, for tests: nothing is sent to anybody, and what
// is done to it harms nobody.
#pragma once

#include <functional>
#include <string>

namespace doppler {

// One of TEST-NET-3, which no private network has. The loopback of such a network has it, too.
inline constexpr const char* kPublicAddress = "203.0.113.7";

// A network namespace.
class OwnNetwork {
 public:
  // Throws Error where the kernel (Linux) or the privileges for it are missing.
  OwnNetwork();
  ~OwnNetwork();
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;

  // Of the namespace, as long as this lives.
  int descriptor() const { return descriptor_; }
  // Runs `body` in there, in another thread: also the processes that it starts are in there.
  void Run(const std::function<void()>& body) const;

 private:
  int descriptor_ = -1;
};

// Runs `body` in the network namespace that a descriptor is of, in another thread, and throws what
// it throws. Throws Error where the way in is not allowed.
void RunInNetwork(int network, const std::function<void()>& body);

// Runs `body` in a network of its own. Says why that cannot be, or nothing.
std::string InItsOwnNetwork(const std::function<void()>& body);

}  // namespace doppler
