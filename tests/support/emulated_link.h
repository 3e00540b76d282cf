// A link between two networks that is far, narrow or loses packets, for tests and measurements:
// what netem does, for kernels without it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

namespace doppler {

struct LinkOptions {
  std::chrono::microseconds delay{0};  // in each direction
  // Bits per second of an Ethernet in each direction, with its preamble and gaps; 0: any. What
  // would wait for longer than 50 ms is dropped, as at the end of a switch's buffer.
  std::uint64_t rate = 0;
  unsigned lost_per_mille = 0;  // of the packets in each direction, chosen by chance
};

// One end: a device with an address, in a network.
struct LinkEnd {
  int network;          // descriptor of a network namespace; only used while the link is made
  std::string address;  // IPv4; the other end must be in the same /24
  std::string device = "link0";
};

// Two TUN devices and two threads that carry packets from one to the other. TCP runs
// between the real ends in the kernel, as over a wire. On a link that is fast and loses none,
// packets of up to 64 KiB pass as one, and count as the packets of 1500 bytes that they stand for.
class EmulatedLink {
 public:
  // Throws Error where the kernel or the privileges for it are missing.
  EmulatedLink(const LinkEnd& first, const LinkEnd& second, const LinkOptions& options);
  // The devices are gone then.
  ~EmulatedLink();
  EmulatedLink(const EmulatedLink&) = delete;
  EmulatedLink& operator=(const EmulatedLink&) = delete;

  // Packets of both directions that were dropped by chance so far.
  std::uint64_t lost() const { return lost_; }

 private:
  void Carry(int from, int to, unsigned seed);

  const LinkOptions options_;
  const int first_;
  const int second_;
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<bool> stop_{false};
  std::thread there_;
  std::thread back_;
};

}  // namespace doppler
