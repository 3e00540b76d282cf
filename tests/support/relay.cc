#include "support/relay.h"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

using RelayClock = std::chrono::steady_clock;
constexpr std::size_t kChunk = 16384;

// From one socket to another.
class Direction {
 public:
  Direction(int from, int to, const RelayOptions& options) : from_(from), to_(to), o_(options) {}

  // False at the end of the connection. Reads no more than the line holds, so that the sender
  // notices.
  bool Move(RelayClock::time_point now) {
    if (held_ < Capacity()) {
      std::string bytes(kChunk, '\0');
      const ssize_t got = ::recv(from_, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
      if (got > 0) {
        bytes.resize(static_cast<std::size_t>(got));
        if (o_.listen) o_.listen(bytes);
        Hold(std::move(bytes), now);
      }
    }
    while (!line_.empty() && line_.front().due <= now) {
      std::string& bytes = line_.front().bytes;
      const ssize_t sent = ::send(to_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN;
      held_ -= static_cast<std::size_t>(sent);
      bytes.erase(0, static_cast<std::size_t>(sent));
      if (bytes.empty()) line_.pop_front();
    }
    return true;
  }

  bool HasRoom() const { return held_ < Capacity(); }
  int from() const { return from_; }

 private:
  struct Packet {
    RelayClock::time_point due;
    std::string bytes;
  };

  std::size_t Capacity() const {
    constexpr std::size_t kFast = 8u << 20;
    if (o_.rate == 0) return kFast;
    const auto on_the_way = o_.rate * static_cast<std::uint64_t>(o_.delay.count()) / 1000;
    return static_cast<std::size_t>(on_the_way) + 4 * kChunk;
  }
  void Hold(std::string bytes, RelayClock::time_point now) {
    free_at_ = std::max(free_at_, now);
    if (o_.rate > 0) {
      constexpr std::uint64_t kNanoseconds = 1'000'000'000;
      free_at_ += std::chrono::nanoseconds(bytes.size() * kNanoseconds / o_.rate);
    }
    held_ += bytes.size();
    line_.push_back({.due = free_at_ + o_.delay, .bytes = std::move(bytes)});
  }

  const int from_;
  const int to_;
  const RelayOptions& o_;
  std::deque<Packet> line_;
  std::size_t held_ = 0;              // bytes in line_
  RelayClock::time_point free_at_{};  // when the line takes the next byte
};

class RelayedConnection {
 public:
  RelayedConnection(int client, const RelayOptions& options)
      : client_(client),
        server_(NewSocket()),
        there_(client_, server_, options),
        back_(server_, client_, options) {
    const int on = 1;
    for (const int socket : {client_, server_}) {
      ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    const sockaddr_in address = LoopbackAddress(options.to);
    is_open_ = ::connect(server_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RelayedConnection() {
    ::close(client_);
    ::close(server_);
  }
  RelayedConnection(const RelayedConnection&) = delete;
  RelayedConnection& operator=(const RelayedConnection&) = delete;

  bool Move(RelayClock::time_point now) { return is_open_ && there_.Move(now) && back_.Move(now); }
  void AddTo(std::vector<pollfd>& wanted) const {
    for (const Direction* direction : {&there_, &back_}) {
      if (direction->HasRoom()) wanted.push_back({direction->from(), POLLIN, 0});
    }
  }

 private:
  const int client_;
  const int server_;
  bool is_open_ = false;
  Direction there_;
  Direction back_;
};

}  // namespace

Relay::Relay(const RelayOptions& options) : options_(options), listener_(options.everywhere) {
  thread_ = std::thread([this] { Run(); });
}

Relay::~Relay() {
  stop_ = true;
  thread_.join();
}

void Relay::Run() {
  std::vector<std::unique_ptr<RelayedConnection>> connections;
  while (!stop_) {
    std::vector<pollfd> wanted = {{listener_.descriptor(), POLLIN, 0}};
    for (const auto& connection : connections) connection->AddTo(wanted);
    constexpr int kTickMilliseconds = 1;
    ::poll(wanted.data(), wanted.size(), kTickMilliseconds);
    if (wanted[0].revents != 0) {
      if (const auto client = listener_.Accept(std::chrono::milliseconds(0))) {
        connections.push_back(std::make_unique<RelayedConnection>(*client, options_));
      }
    }
    const RelayClock::time_point now = RelayClock::now();
    std::erase_if(connections, [now](const auto& connection) { return !connection->Move(now); });
  }
}

}  // namespace doppler
