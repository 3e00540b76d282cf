#include "swarm/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "swarm/certificate.h"

namespace doppler {

using testing::HasSubstr;

namespace {

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string FrameProblem(std::string_view text) {
  return MessageOf([text] {
    FrameReader reader(1024);
    reader.Add(AsBytes(text));
    reader.Next();
  });
}

StartMessage SampleStart() {
  StartMessage start;
  start.task = StartMessage::Task::kFetch;
  start.folder = "/models/x";
  start.manifest_file = "manifest.json";
  start.torrent = std::string("d\0e", 3);
  start.info_hash.fill(7);
  start.have = {0x80, 0x01};
  start.authority = "ca";
  start.certificate = "cert";
  start.private_key = "key";
  start.peers = {{"192.0.2.1", 80}, {"::1", 65535}};
  start.trackers = {"udp://a.b:1"};
  start.port = 6881;
  start.private_only = true;
  start.upload_limit = std::uint64_t{1} << 40;
  start.idle_milliseconds = 1234;
  return start;
}

}  // namespace

TEST(MessagesTest, ReadsWhatItWritesInAnyPortions) {
  const std::vector<Message> messages = {
      SampleStart(),
      WantMessage{{0, 7, 1}},
      ConnectMessage{{{"::1", 1}}},
      StopMessage{},
      ReadyMessage{.port = 9, .confined = true},
      DescriptionMessage{"info", {{"1.2.3.4", 5}}},
      StatusMessage{.peers = 3, .wanted = 1ull << 50},
      FileMessage{17},
      LayerMessage{3, {Digest{1}, Digest{2}}},
      PardonedMessage{{"192.0.2.7", 7001}},
      BannedMessage{{"1.2.3.4", 5}},
      DamagedMessage{6},
      FailureMessage{"disk full"},
      WantFileMessage{.file = 5, .priority = 7},
      ForgetMessage{{5, 1u << 31u}},
      ForgottenMessage{},
      PeersMessage{
          {{.address = {"1.2.3.4", 5}, .client = "any", .round_trip_ms = 7, .pieces = {0x80}}},
          true}};
  std::string text;
  for (const Message& message : messages) text += EncodeFrame(message);
  for (const std::size_t portion : {std::size_t{1}, std::size_t{7}, text.size()}) {
    FrameReader reader;
    std::string again;
    for (std::size_t at = 0; at < text.size(); at += portion) {
      reader.Add(AsBytes(std::string_view(text).substr(at, portion)));
      while (const auto message = reader.Next()) again += EncodeFrame(*message);
    }
    EXPECT_EQ(again, text);
  }
  FrameReader reader;
  reader.Add(AsBytes(text));
  const auto start = std::get<StartMessage>(*reader.Next());
  EXPECT_EQ(start.peers, SampleStart().peers);
  EXPECT_EQ(start.upload_limit, SampleStart().upload_limit);
  EXPECT_EQ(start.idle_milliseconds, SampleStart().idle_milliseconds);
  EXPECT_EQ(start.torrent, SampleStart().torrent);
  EXPECT_EQ(start.authority + start.certificate + start.private_key, "cacertkey");
}

TEST(MessagesTest, RefusesAKeyThatIsTooLong) {
  StartMessage start = SampleStart();
  start.private_key.assign(kMostPemBytes, 'k');
  FrameReader reader;
  reader.Add(AsBytes(EncodeFrame(start)));
  EXPECT_TRUE(reader.Next());
  start.private_key += 'k';
  // Only what reads has strangers' words.
  FrameReader strict;
  strict.Add(AsBytes(EncodeFrame(start)));
  EXPECT_THAT(MessageOf([&] { strict.Next(); }), HasSubstr("too long"));
}

TEST(MessagesTest, RefusesWhatIsNoFrame) {
  using namespace std::string_view_literals;
  EXPECT_THAT(FrameProblem("\0\0\0\0"sv), HasSubstr("has 0 bytes"));
  EXPECT_THAT(FrameProblem("\1\4\0\0"sv), HasSubstr("has 1025 bytes"));
  EXPECT_THAT(FrameProblem("\1\0\0\0\x63"sv), HasSubstr("kind 99"));
  EXPECT_THAT(FrameProblem("\2\0\0\0\3x"sv), HasSubstr("longer than its message"));
  EXPECT_THAT(FrameProblem("\1\0\0\0\4"sv), HasSubstr("ends in the middle"));
  EXPECT_THAT(FrameProblem("\4\0\0\0\4\1\1\2"sv), HasSubstr("neither on nor off"));
  EXPECT_THAT(FrameProblem("\5\0\0\0\1\xff\xff\xff\xff"sv), HasSubstr("ends in the middle"));
}

}  // namespace doppler
