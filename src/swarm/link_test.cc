#include "swarm/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"

namespace doppler {

using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const std::string kTopic = "xt=urn:btmh:1220" + std::string(64, 'a');

std::string LinkProblem(const std::string& rest) {
  return MessageOf([&rest] { ParseLink("magnet:?" + rest); });
}

}  // namespace

TEST(LinkTest, ReadsWhatItWrites) {
  Link link;
  link.info_hash.fill(0xa5);
  link.name = "qwen3-30b-a3b-q4_k";
  link.team = Digest{0x5a};
  link.peers = {{"192.0.2.7", 6881}, {"2001:db8::1", 80}};
  link.trackers = {"udp://tracker.test:80/announce?a=b&c=%25"};
  link.web_seeds = {"https://mirror.test/models/"};
  const std::string text = FormatLink(link);
  const Link again = ParseLink(text);
  EXPECT_EQ(FormatLink(again), text);
  EXPECT_EQ(again.info_hash, link.info_hash);
  EXPECT_EQ(again.name, link.name);
  EXPECT_EQ(again.team, link.team);
  EXPECT_EQ(again.peers, link.peers);
  EXPECT_EQ(again.trackers, link.trackers);
  EXPECT_EQ(again.web_seeds, link.web_seeds);
}

TEST(LinkTest, IgnoresOtherKeys) {
  const Link link = ParseLink("magnet:?xl=17&" + kTopic + "&kt=x&&so=1&tr=udp%3A%2F%2Fa.b%3A1");
  EXPECT_THAT(link.trackers, ElementsAre("udp://a.b:1"));
}

TEST(LinkTest, RefusesWhatIsNoLinkToAModel) {
  EXPECT_THAT(MessageOf([] { ParseLink("http://a.b/c"); }), HasSubstr("begins with 'magnet:?'"));
  EXPECT_THAT(LinkProblem("dn=x"), HasSubstr("no hash"));
  EXPECT_THAT(LinkProblem("xt=urn:btih:" + std::string(40, 'a')), HasSubstr("version 2"));
  EXPECT_THAT(LinkProblem("xt=urn:btmh:1220" + std::string(63, 'a')), HasSubstr("64 hexa"));
  EXPECT_THAT(LinkProblem("xt=urn:btmh:1114" + std::string(40, 'a')), HasSubstr("64 hexa"));
  EXPECT_THAT(LinkProblem(kTopic + "&xt=urn:btmh:1220" + std::string(64, 'b')),
              HasSubstr("two hashes"));
  EXPECT_THAT(LinkProblem(kTopic + "&dn=..%2Fx"), HasSubstr("is not a model's"));
  EXPECT_THAT(LinkProblem(kTopic + "&dn=%2"), HasSubstr("'%' without"));
  EXPECT_THAT(LinkProblem(kTopic + "&tr=ftp://a"), HasSubstr("a tracker's address"));
  EXPECT_THAT(LinkProblem(kTopic + "&ws=http://a%0d%0ab"), HasSubstr("a web seed's address"));
  EXPECT_THAT(LinkProblem(kTopic + "&x.pe=tracker.test:80"), HasSubstr("a name where an address"));
  std::string many = kTopic;
  for (int port = 1; port < 70; ++port) many += "&x.pe=192.0.2.1:" + std::to_string(port);
  EXPECT_THAT(LinkProblem(many), HasSubstr("more than 64"));
}

TEST(PeerAddressTest, ReadsWhatItWrites) {
  for (const char* text : {"192.0.2.7:1", "[2001:db8::1]:65535"}) {
    EXPECT_EQ(FormatPeer(ParsePeer(text)), text);
  }
  EXPECT_EQ(ResolvePeer("127.0.0.1:80"), std::vector<PeerAddress>({{"127.0.0.1", 80}}));
  EXPECT_THROW(ResolvePeer("127.0.0.1"), UsageError);
}

TEST(PeerAddressTest, RefusesWhatIsNoAddress) {
  for (const char* text : {"", ":", "a", "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536",
                           "1.2.3.4:8x", "::1:80", "[::1:80", "[1.2.3.4]:80", "[]:80", "a b:80"}) {
    EXPECT_NE(MessageOf([text] { ParsePeer(text); }), "no error") << text;
  }
}

TEST(PeerAddressTest, KnowsPrivateNetworks) {
  for (const char* text :
       {"127.0.0.1:1", "10.255.0.1:1", "172.31.0.1:1", "192.168.1.1:1", "169.254.1.1:1",
        "100.127.0.1:1", "[::1]:1", "[fd00::1]:1", "[fe80::1]:1"}) {
    EXPECT_TRUE(IsPrivateAddress(ParsePeer(text))) << text;
  }
  for (const char* text :
       {"8.8.8.8:1", "172.32.0.1:1", "100.128.0.1:1", "[2001:db8::1]:1", "[::ffff:8.8.8.8]:1"}) {
    EXPECT_FALSE(IsPrivateAddress(ParsePeer(text))) << text;
  }
}

}  // namespace doppler
