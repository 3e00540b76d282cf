// Peers that are found without their addresses: by multicast and from other peers. In a network
// that has nothing but its own loopback, so that nothing is sent to anybody.
#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e/swarm.h"
#include "support/own_network.h"
#include "swarm/link.h"
#include "swarm/sample_artifact.h"

namespace doppler {
namespace {

// Whether a peer of this model that is called at an address, and from the same, says a word.
bool AnswersHandshake(const char* host, std::uint16_t port, const Digest& info_hash) {
  constexpr std::size_t kNameBytes = 20;
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, host, &address.sin_addr);
  EXPECT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string hello =
      "\x13"
      "BitTorrent protocol" +
      std::string("\0\0\0\0\0\x10\0\x10", 8) +
      std::string(info_hash.begin(), info_hash.begin() + kNameBytes) + "-XX0000-123456789012";
  EXPECT_EQ(::send(socket, hello.data(), hello.size(), MSG_NOSIGNAL), ssize_t(hello.size()));
  char answer = 0;
  const bool answers = ::recv(socket, &answer, 1, 0) == 1;
  ::close(socket);
  return answers;
}

// The same, some time: who has just said that it listens may not have opened the model yet.
bool ComesToAnswer(const char* host, std::uint16_t port, const Digest& info_hash) {
  constexpr int kMostCalls = 100;
  for (int call = 0; call < kMostCalls; ++call) {
    if (AnswersHandshake(host, port, info_hash)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

// `doppler share` with the ways to find peers that are asked for.
class OpenSeed {
 public:
  OpenSeed(const fs::path& model, const std::vector<std::string>& flags)
      : program_([&] {
          std::vector<std::string> command = {ProgramPath(), "share", model, "--json"};
          command.insert(command.end(), flags.begin(), flags.end());
          return command;
        }()) {
    const nlohmann::json start = nlohmann::json::parse(program_.FirstLine(), nullptr, false);
    if (!start.is_object()) return;
    link_ = start["link"];
    port_ = start["port"];
  }
  const std::string& link() const { return link_; }
  std::uint16_t port() const { return port_; }

 private:
  BackgroundProgram program_;
  std::string link_;
  std::uint16_t port_ = 0;
};

void ExpectPulled(const fs::path& model, const std::string& link,
                  const std::vector<std::string>& flags) {
  const TempFolder temp;
  std::vector<std::string> arguments = {"pull",      link, "--out", temp.path() / "x",
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
    const OpenSeed seed(model, {"--no-pex", "--no-dht"});
    ExpectPulled(model, seed.link(), {"--no-pex", "--no-dht"});
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
    const OpenSeed some(part, {"--no-lsd", "--no-dht", "--port", port});
    const OpenSeed all(model, {"--no-lsd", "--no-dht", "--peer", known});
    // The one that is known does not have everything.
    ExpectPulled(model, some.link(), {"--no-lsd", "--no-dht", "--peer", known});
  });
  if (!problem.empty()) GTEST_SKIP() << problem;
}

TEST(DiscoveryTest, PeersAreFoundThroughANodeOfTheirOwnDht) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path other = temp.path() / "other";
  WriteSampleArtifact(model);
  WriteSampleArtifact(other, {.name = "other"});
  const std::string problem = InItsOwnNetwork([&] {
    const std::string port = std::to_string(FreePort());
    const std::vector<std::string> flags = {"--no-lsd", "--no-pex", "--dht-node",
                                            "127.0.0.1:" + port};
    std::vector<std::string> flags_of_node = flags;
    flags_of_node.insert(flags_of_node.end(), {"--port", port});
    // It has another model, and begins with itself.
    const OpenSeed node(other, flags_of_node);
    const OpenSeed seed(model, flags);
    ExpectPulled(model, seed.link(), flags);
  });
  if (!problem.empty()) GTEST_SKIP() << problem;
}

TEST(DiscoveryTest, OnePortIsThatOfAllAddresses) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  const std::string problem = InItsOwnNetwork([&] {
    const OpenSeed seed(model, {"--no-lsd", "--no-pex", "--no-dht"});
    const Digest name = ParseLink(seed.link()).info_hash;
    EXPECT_TRUE(ComesToAnswer(kPublicAddress, seed.port(), name));
    EXPECT_TRUE(ComesToAnswer("127.0.0.1", seed.port(), name));
  });
  if (!problem.empty()) GTEST_SKIP() << problem;
}

TEST(DiscoveryTest, APrivateSwarmTakesNobodyFromOtherNetworks) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  const std::string problem = InItsOwnNetwork([&] {
    const Seed seed(model);  // with --private
    const Digest name = ParseLink(seed.link()).info_hash;
    EXPECT_TRUE(ComesToAnswer("127.0.0.1", seed.port(), name));
    EXPECT_FALSE(AnswersHandshake(kPublicAddress, seed.port(), name));
  });
  if (!problem.empty()) GTEST_SKIP() << problem;
}

TEST(DiscoveryTest, ADhtOfOnesOwnGoesWithNeitherATeamNorAPrivateSwarm) {
  for (const char* flag : {"--no-dht", "--private", "--team=crew"}) {
    const ProcessResult result =
        Doppler({"pull", "magnet:?xt=urn:btmh:1220" + std::string(64, 'a') + "&dn=x", "--dht-node",
                 "127.0.0.1:1", flag});
    EXPECT_EQ(result.status, kWrongUsage) << flag;
    EXPECT_THAT(result.errors, testing::HasSubstr("do not go together")) << flag;
  }
}

}  // namespace doppler
