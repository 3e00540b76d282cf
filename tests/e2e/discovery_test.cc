// Peers that are found without their addresses: by multicast and from other peers. In a network
// that has nothing but its own loopback, so that nothing is sent to anybody.
#include <cerrno>
#include <cstring>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e/swarm.h"
#include "swarm/sample_artifact.h"

namespace doppler {
namespace {

// Runs `body` in a network namespace of its own. Says why it cannot, or nothing.
std::string InItsOwnNetwork(const std::function<void()>& body) {
  std::string problem;
  // A namespace is its thread's, and that of the processes which the thread starts.
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      problem = std::string("no network namespace: ") + std::strerror(errno);
      return;
    }
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP;
    const bool up = ::ioctl(socket, SIOCSIFFLAGS, &loopback) == 0;
    ::close(socket);
    if (!up) {
      problem = std::string("no loopback in a network namespace: ") + std::strerror(errno);
      return;
    }
    body();
  }).join();
  return problem;
}

// `doppler share` with the ways to find peers that are asked for.
class OpenSeed {
 public:
  OpenSeed(const fs::path& model, const std::vector<std::string>& flags)
      : program_([&] {
          std::vector<std::string> command = {ProgramPath(), "share", model, "--json", "--no-dht"};
          command.insert(command.end(), flags.begin(), flags.end());
          return command;
        }()) {
    const nlohmann::json start = nlohmann::json::parse(program_.FirstLine(), nullptr, false);
    if (start.is_object()) link_ = start["link"];
  }
  const std::string& link() const { return link_; }

 private:
  BackgroundProgram program_;
  std::string link_;
};

void ExpectPulled(const fs::path& model, const std::string& link,
                  const std::vector<std::string>& flags) {
  const TempFolder temp;
  std::vector<std::string> arguments = {"pull",      link, "--no-dht", "--out", temp.path() / "x",
                                        "--timeout", "60"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  ExpectDone(Doppler(arguments));
  ExpectSameModel(model, temp.path() / "x");
}

}  // namespace

TEST(DiscoveryTest, PeersOfTheLocalNetworkAreFoundByMulticast) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  const std::string problem = InItsOwnNetwork([&] {
    const OpenSeed seed(model, {"--no-pex"});
    ExpectPulled(model, seed.link(), {"--no-pex"});
  });
  if (!problem.empty()) GTEST_SKIP() << problem;
}

TEST(DiscoveryTest, PeersTellOfEachOther) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path part = temp.path() / "part";
  WriteSampleArtifact(model);
  fs::copy(model, part, fs::copy_options::recursive);
  fs::remove(part / "shards/00002.bin");
  const std::string problem = InItsOwnNetwork([&] {
    const std::string port = std::to_string(FreePort());
    const std::string known = "127.0.0.1:" + port;
    const OpenSeed some(part, {"--no-lsd", "--port", port});
    const OpenSeed all(model, {"--no-lsd", "--peer", known});
    // The one that is known does not have everything.
    ExpectPulled(model, some.link(), {"--no-lsd", "--peer", known});
  });
  if (!problem.empty()) GTEST_SKIP() << problem;
}

}  // namespace doppler
