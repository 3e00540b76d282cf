#include "support/emulated_link.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"
#include "support/own_network.h"

namespace doppler {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLongestQueue = std::chrono::milliseconds(50);
// Preamble, addresses, type, checksum and the gap behind it.
constexpr std::uint64_t kEthernetOverhead = 38;

// `struct virtio_net_hdr` of the VIRTIO specification, in front of each packet; the kernel's header
// for it is not C++.
struct PacketHeader {
  std::uint8_t flags;
  std::uint8_t segmentation;  // 0: one packet of the wire
  std::uint16_t header_bytes;
  std::uint16_t segment_bytes;
  std::uint16_t checksum_start;
  std::uint16_t checksum_offset;
};
static_assert(sizeof(PacketHeader) == 10);
constexpr std::size_t kLargestPacket = 65536 + sizeof(PacketHeader);

void Require(bool done, const char* what) {
  if (!done) Throw("no emulated link: {}: {}", what, std::strerror(errno));
}

// Of up to 64 KiB, which takes some milliseconds on slower links.
bool TakesLargePackets(const LinkOptions& options) {
  constexpr std::uint64_t kFast = 100'000'000;
  return options.lost_per_mille == 0 && (options.rate == 0 || options.rate >= kFast);
}

void SetName(ifreq& request, const std::string& device) {
  std::strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
}

// Gives the device its address in a /24 and puts it up.
void Configure(const LinkEnd& end) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  SetName(request, end.device);
  const auto set = [&](unsigned long what, const std::string& value) {
    sockaddr_in number{};
    number.sin_family = AF_INET;
    const bool is_number = ::inet_pton(AF_INET, value.c_str(), &number.sin_addr) == 1;
    std::memcpy(&request.ifr_addr, &number, sizeof number);
    return is_number && ::ioctl(socket, what, &request) == 0;
  };
  bool done = set(SIOCSIFADDR, end.address) && set(SIOCSIFNETMASK, "255.255.255.0");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  done = done && ::ioctl(socket, SIOCSIFFLAGS, &request) == 0;
  const int error = errno;
  ::close(socket);
  errno = error;
  Require(done, "no address for its device");
}

// Makes the device in the network of the calling thread. Packets are read and written with a header
// that tells which packets of the wire a large one stands for, and that its checksum is to be made.
int NewDevice(const LinkEnd& end, bool large_packets) {
  const int device = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  Require(device >= 0, "/dev/net/tun");
  try {
    ifreq request{};
    SetName(request, end.device);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    Require(::ioctl(device, TUNSETIFF, &request) == 0, "no TUN device");
    const unsigned long offload = large_packets ? TUN_F_CSUM | TUN_F_TSO4 : TUN_F_CSUM;
    Require(::ioctl(device, TUNSETOFFLOAD, offload) == 0, "no large packets");
    Configure(end);
  } catch (...) {
    ::close(device);
    throw;
  }
  return device;
}

int NewDeviceIn(const LinkEnd& end, bool large_packets) {
  int device = -1;
  RunInNetwork(end.network, [&] { device = NewDevice(end, large_packets); });
  return device;
}

// Bytes of an Ethernet that a packet takes; `packet` begins with the header of the device.
std::uint64_t BytesOnTheWire(const std::vector<char>& packet) {
  PacketHeader header{};
  std::memcpy(&header, packet.data(), sizeof header);
  const std::uint64_t bytes = packet.size() - sizeof header;
  if (header.segmentation == 0 || header.segment_bytes == 0) return bytes + kEthernetOverhead;
  const std::uint64_t headers = std::min<std::uint64_t>(header.header_bytes, bytes);
  const std::uint64_t packets = std::max<std::uint64_t>(
      1, (bytes - headers + header.segment_bytes - 1) / header.segment_bytes);
  return bytes + (packets - 1) * headers + packets * kEthernetOverhead;
}

// What is on its way in one direction.
class Wire {
 public:
  explicit Wire(const LinkOptions& options) : options_(options) {}

  void Take(std::vector<char> packet, Clock::time_point now) {
    if (options_.rate != 0) {
      idle_at_ = std::max(idle_at_, now);
      if (idle_at_ - now > kLongestQueue) return;
      idle_at_ += std::chrono::nanoseconds(BytesOnTheWire(packet) * 8'000'000'000 / options_.rate);
    } else {
      idle_at_ = now;
    }
    packets_.push_back({idle_at_ + options_.delay, std::move(packet)});
  }
  // What has arrived.
  void Deliver(int to, Clock::time_point now) {
    while (!packets_.empty() && packets_.front().due <= now) {
      const std::vector<char>& packet = packets_.front().bytes;
      // One that the device does not take is lost, as on any wire.
      [[maybe_unused]] const ssize_t written = ::write(to, packet.data(), packet.size());
      packets_.pop_front();
    }
  }
  std::chrono::nanoseconds UntilNext(Clock::time_point now, std::chrono::nanoseconds most) const {
    return packets_.empty() ? most
                            : std::min<std::chrono::nanoseconds>(most, packets_.front().due - now);
  }

 private:
  struct Packet {
    Clock::time_point due;
    std::vector<char> bytes;
  };

  const LinkOptions options_;
  Clock::time_point idle_at_;
  std::deque<Packet> packets_;
};

}  // namespace

EmulatedLink::EmulatedLink(const LinkEnd& first, const LinkEnd& second, const LinkOptions& options)
    : options_(options),
      first_(NewDeviceIn(first, TakesLargePackets(options))),
      second_(NewDeviceIn(second, TakesLargePackets(options))),
      there_([this] { Carry(first_, second_, 1); }),
      back_([this] { Carry(second_, first_, 2); }) {}

EmulatedLink::~EmulatedLink() {
  stop_ = true;
  there_.join();
  back_.join();
  ::close(first_);
  ::close(second_);
}

void EmulatedLink::Carry(int from, int to, unsigned seed) {
  constexpr std::chrono::nanoseconds kLookForStop = std::chrono::milliseconds(50);
  ::prctl(PR_SET_TIMERSLACK, 1);  // sleeps end when they should
  std::minstd_rand random(seed);
  std::uniform_int_distribution<unsigned> per_mille(0, 999);
  Wire wire(options_);
  std::array<char, kLargestPacket> buffer;
  while (!stop_) {
    const auto wait =
        std::max(wire.UntilNext(Clock::now(), kLookForStop), std::chrono::nanoseconds(0));
    const timespec timeout{.tv_sec = 0, .tv_nsec = wait.count()};
    pollfd readable{.fd = from, .events = POLLIN, .revents = 0};
    ::ppoll(&readable, 1, &timeout, nullptr);
    for (ssize_t size; (size = ::read(from, buffer.data(), buffer.size())) > 0;) {
      const auto now = Clock::now();
      if (per_mille(random) < options_.lost_per_mille) {
        ++lost_;
      } else {
        wire.Take({buffer.begin(), buffer.begin() + size}, now);
      }
      wire.Deliver(to, now);
    }
    wire.Deliver(to, Clock::now());
  }
}

}  // namespace doppler
