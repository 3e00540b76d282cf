// Swarms of a team: members over TLS, and nobody else.

#include "e2e/team.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/relay.h"
#include "support/tls_peer.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::StartsWith;

namespace {

std::string InfoHashOf(const std::string& link) {
  return link.substr(link.find("btmh:1220") + 9, 64);
}

// What a peer says first (BEP 3), of a torrent of version 2.
std::string HandshakeFor(const std::string& info_hash) {
  std::string text =
      "\x13"
      "BitTorrent protocol" +
      std::string("\0\0\0\0\0\x10\0\x10", 8);
  for (std::size_t i = 0; i < 40; i += 2) {
    text += static_cast<char>(std::stoi(info_hash.substr(i, 2), nullptr, 16));
  }
  return text + "-XX0000-abcdefghijkl";
}

bool HasLoopback6() {
  const int socket = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool has = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return has;
}

// What passes a relay.
class Eavesdropper {
 public:
  explicit Eavesdropper(std::uint16_t port)
      : relay_({.to = port, .listen = [this](std::string_view bytes) {
                  const std::lock_guard lock(mutex_);
                  heard_ += bytes;
                }}) {}
  std::string peer() const { return "127.0.0.1:" + std::to_string(relay_.port()); }
  bool Heard(const std::string& bytes) {
    const std::lock_guard lock(mutex_);
    return heard_.find(bytes) != std::string::npos;
  }
  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return heard_.size();
  }

 private:
  std::mutex mutex_;
  std::string heard_;
  Relay relay_;
};

// Whether somebody between two machines reads bytes of a shard.
bool ShardIsRead(const std::vector<std::string>& seed_flags,
                 const std::vector<std::string>& pull_flags) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  const Seed seed(model, seed_flags);
  Eavesdropper between(seed.port());
  std::vector<std::string> flags = {"--peer", between.peer()};
  flags.insert(flags.end(), pull_flags.begin(), pull_flags.end());
  ExpectDone(Doppler(PullArguments(seed.link(), temp.path() / "pulled", flags)));
  ExpectSameModel(model, temp.path() / "pulled");
  EXPECT_GT(between.size(), 4 * 320 * kKiB);
  constexpr std::size_t kSome = 64;
  bool any = between.Heard("manifest.json") || between.Heard("BitTorrent protocol");
  for (std::size_t shard = 0; shard <= 4; ++shard) {
    const std::string bytes = SampleBytes(shard, 1000);
    // Several places, as one may stand across two portions of what was heard.
    any = any || between.Heard(bytes.substr(0, kSome)) || between.Heard(bytes.substr(500, kSome));
  }
  return any;
}

}  // namespace

TEST(TeamSwarmTest, NobodyBetweenMembersReadsAShard) {
  const Crew crew;
  EXPECT_FALSE(ShardIsRead(crew.FlagsOfSeed(), crew.Flags()));
  EXPECT_TRUE(ShardIsRead({}, {}));
}

TEST(TeamSwarmTest, PeersTellWhatTheyHave) {
  const Crew crew;
  const TempFolder temp;
  WriteSampleArtifact(temp.path() / "model");
  const Seed seed(temp.path() / "model", crew.FlagsOfSeed());
  nlohmann::json found;
  for (int attempt = 0; attempt < 10 && (found.empty() || found["holders"].empty()); ++attempt) {
    std::vector<std::string> arguments = {"peers",  seed.link(), "--private", "--json",
                                          "--wait", "1",         "--peer",    seed.peer()};
    const std::vector<std::string> flags = crew.Flags();
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    found = JsonOutput(arguments);
  }
  ASSERT_EQ(found["holders"].size(), 1u);
  EXPECT_EQ(found["holders"][0]["experts"], 4);
}

TEST(TeamSwarmTest, PeersMayHaveAddressesOfVersionSix) {
  const Crew crew;
  const TempFolder temp;
  WriteSampleArtifact(temp.path() / "model");
  if (!HasLoopback6()) GTEST_SKIP() << "this machine has no address ::1";
  for (const bool team : {false, true}) {
    // Without --port each address has another.
    const std::string port = std::to_string(FreePort());
    std::vector<std::string> seed_flags = {"--port", port};
    if (team) seed_flags.insert(seed_flags.end(), {"--team", crew.folder()});
    const Seed seed(temp.path() / "model", seed_flags);
    std::vector<std::string> flags = {"--peer", "[::1]:" + port};
    if (team) flags = crew.Flags(flags);
    const fs::path out = temp.path() / (team ? "member" : "anybody");
    ExpectDone(Doppler(PullArguments(seed.link(), out, flags)));
    ExpectSameModel(temp.path() / "model", out);
  }
}

TEST(TeamSwarmTest, WhoIsNoMemberGetsNothing) {
  const Crew crew;
  const KeyPair foreign = MakeAuthority("crew", ValidFor(1));
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  Seed seed(model, crew.FlagsOfSeed());
  const std::string name = InfoHashOf(seed.link());
  const std::string hello = HandshakeFor(name);
  const auto ask = [&](const KeyPair& member) {
    return AskOverTls(seed.port(), {member.certificate, member.private_key}, name.substr(0, 40),
                      hello);
  };
  const std::time_t now = std::time(nullptr);
  const KeyPair bob = MakeMember(crew.authority(), "bob", {"sample"}, ValidFor(1));
  EXPECT_THAT(ask(bob), StartsWith("\x13"
                                   "BitTorrent protocol"));
  EXPECT_EQ(ask({}), "");
  EXPECT_EQ(ask(MakeMember(foreign, "bob", {}, ValidFor(1))), "");
  EXPECT_EQ(ask(MakeMember(crew.authority(), "bob", {"other"}, ValidFor(1))), "");
  EXPECT_EQ(ask(MakeMember(crew.authority(), "bob", {}, {.begin = now - 9, .end = now - 5})), "");
  EXPECT_EQ(ask(foreign), "");
  EXPECT_EQ(AskInPlain(seed.port(), hello), "");
  // The others go on.
  const fs::path out = temp.path() / "pulled";
  ExpectDone(Doppler(PullArguments(seed.link(), out, crew.Flags({"--peer", seed.peer()}))));
  ExpectSameModel(model, out);
}

TEST(TeamSwarmTest, AnImpostorHearsNothing) {
  const Crew crew;
  const KeyPair other = MakeMember(MakeAuthority("crew", ValidFor(1)), "mallory", {}, ValidFor(1));
  TlsImpostor impostor({other.certificate, other.private_key});
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path torrent = temp.path() / "model.torrent";
  WriteSampleArtifact(model);
  Seed seed(model, {"--team", crew.folder(), "--torrent", torrent});
  const std::string wrong = "127.0.0.1:" + std::to_string(impostor.port());
  const auto pull = [&](const std::string& source, const std::string& name) {
    ExpectDone(Doppler(PullArguments(source, temp.path() / name,
                                     crew.Flags({"--peer", wrong, "--peer", seed.peer()}))));
    ExpectSameModel(model, temp.path() / name);
  };
  // The info dictionary is asked for by a code of its own.
  pull(seed.link(), "by_link");
  const int by_link = impostor.connections();
  EXPECT_GT(by_link, 0);
  pull(torrent, "by_torrent");
  EXPECT_GT(impostor.connections(), by_link);
  EXPECT_EQ(impostor.fooled(), 0);
}

TEST(TeamSwarmTest, ARefusalSaysWhatIsWrong) {
  const Crew crew;
  const Crew other;
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path torrent = temp.path() / "model.torrent";
  WriteSampleArtifact(model);
  const Seed seed(model, {"--team", crew.folder(), "--torrent", torrent});
  const auto pull = [&](const std::string& source, const std::vector<std::string>& flags) {
    return Doppler(PullArguments(source, temp.path() / "pulled", flags));
  };
  for (const std::string& source : {seed.link(), torrent.string()}) {
    ExpectRefused(pull(source, {}), kFailed, {"a team's", "--team FOLDER"});
    ExpectRefused(pull(source, other.Flags()), kFailed, {"another team than", "alice"});
  }
  const std::string plain = "magnet:?xt=urn:btmh:1220" + std::string(64, 'a');
  ExpectRefused(pull(plain, crew.Flags()), kFailed, {"is not a team's", "leave --team out"});
  ExpectRefused(pull(seed.link(), {"--team", temp.path()}), kFailed, {"there is no ca.pem"});
  ExpectRefused(pull(seed.link(), crew.Flags({"--web-seed", "http://127.0.0.1:1/"})), kWrongUsage,
                {"do not go together"});
  ExpectRefused(Doppler({"run", model, "-p", "x", "--team", crew.alice()}), kWrongUsage,
                {"--team requires --swarm"});
  const fs::path bob = temp.path() / "bob";
  Doppler({"team", "invite", crew.folder(), "bob", "--model", "llama", "--out", bob});
  ExpectRefused(pull(seed.link(), {"--team", bob}), kFailed,
                {"is for llama and not for the model 'sample'"});
  ExpectRefused(Doppler({"share", model, "--team", bob}), kFailed, {"is for llama"});
  const std::time_t now = std::time(nullptr);
  const KeyPair late = MakeMember(crew.authority(), "bob", {}, {.begin = now - 9, .end = now - 5});
  Overwrite(bob / "member.pem", late.certificate);
  Overwrite(bob / "member.key.pem", late.private_key);
  ExpectRefused(pull(seed.link(), {"--team", bob}), kFailed, {"member.pem' expired on"});
  ExpectRefused(Doppler({"team", "invite", bob, "carol"}), kFailed, {"only who runs the team"});
  ExpectRefused(Doppler({"team", "new", temp.path() / "a b"}), kWrongUsage, {"'a b' is not"});
}

}  // namespace doppler
