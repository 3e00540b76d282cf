#include "swarm/worker/worker.h"

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "io/confinement.h"
#include "swarm/worker/session.h"
#include "swarm/worker/team_peer.h"

namespace doppler {
namespace {

constexpr int kTickMilliseconds = 100;

// What names of hosts and https need; everything else is out of reach.
const std::vector<std::filesystem::path> kSystemFiles = {
    "/etc/resolv.conf", "/etc/hosts",    "/etc/host.conf", "/etc/nsswitch.conf",
    "/etc/gai.conf",    "/etc/services", "/etc/ssl",       "/usr/share/ca-certificates",
    "/usr/lib/ssl",     "/dev/urandom"};

struct Stopped {};

class Worker {
 public:
  explicit Worker(int socket) : socket_(socket), news_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Worker() {
    session_.reset();  // its threads write to news_
    ::close(news_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Run() {
    for (;;) {
      std::array<pollfd, 2> wanted = {{{socket_, POLLIN, 0}, {news_, POLLIN, 0}}};
      ::poll(wanted.data(), wanted.size(), session_ ? kTickMilliseconds : -1);
      if (wanted[0].revents != 0) Receive();
      if (!session_) continue;
      if (wanted[1].revents != 0) {
        eventfd_t count = 0;
        ::eventfd_read(news_, &count);
        session_->Handle();
      }
      session_->Tick();
    }
  }

  void Send(const Message& message) {
    const std::string frame = EncodeFrame(message);
    for (std::string_view rest = frame; !rest.empty();) {
      const ssize_t sent = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) throw Stopped();
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

 private:
  void Receive() {
    std::array<std::byte, 65536> buffer;
    const ssize_t got = ::recv(socket_, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) throw Stopped();
    frames_.Add(std::span(buffer).first(static_cast<std::size_t>(got)));
    while (const std::optional<Message> message = frames_.Next()) Take(*message);
  }

  void Take(const Message& message) {
    if (const auto* start = std::get_if<StartMessage>(&message); start != nullptr && !session_) {
      Start(*start);
    } else if (const auto* want = std::get_if<WantMessage>(&message); want != nullptr && session_) {
      session_->Want(*want);
    } else if (const auto* file = std::get_if<WantFileMessage>(&message);
               file != nullptr && session_) {
      session_->WantFile(*file);
    } else if (const auto* forget = std::get_if<ForgetMessage>(&message);
               forget != nullptr && session_) {
      session_->Forget(*forget);
    } else if (const auto* connect = std::get_if<ConnectMessage>(&message);
               connect != nullptr && session_) {
      session_->Connect(*connect);
    } else if (std::holds_alternative<StopMessage>(message)) {
      if (session_) session_->Finish();
      throw Stopped();
    } else {
      Throw("a message that does not belong here");
    }
  }

  void Start(const StartMessage& start) {
    ConfinementOptions options;
    options.readable = kSystemFiles;
    if (start.task == StartMessage::Task::kSeed) options.readable.emplace_back(start.folder);
    if (start.task == StartMessage::Task::kFetch || start.task == StartMessage::Task::kOnDemand) {
      options.writable.emplace_back(start.folder);
    }
    const Confinement confinement = ConfineProcess(options);
    if (start.task == StartMessage::Task::kDescribe && !start.authority.empty()) {
      return Send(DescribeFromTeam(start));
    }
    session_ = std::make_unique<SwarmSession>(
        start, confinement.files, [this](const Message& message) { Send(message); },
        [news = news_] { ::eventfd_write(news, 1); });
  }

  int socket_;
  int news_;
  FrameReader frames_;
  std::unique_ptr<SwarmSession> session_;
};

}  // namespace

int RunWorker(int socket) {
  Worker worker(socket);
  try {
    worker.Run();
  } catch (const Stopped&) {
    return 0;
  } catch (const std::exception& error) {
    try {
      worker.Send(FailureMessage{error.what()});
    } catch (const Stopped&) {
      return 1;
    }
  }
  return 1;
}

}  // namespace doppler
