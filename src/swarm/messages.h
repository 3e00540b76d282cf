// What the program and its swarm process say to each other, over a socket: frames of a length, a
// kind and a body.
//
//   u32 bytes that follow | u8 kind | body        numbers are little-endian
//
// The swarm process talks to strangers, so the program takes its words as it would theirs: every
// frame is checked, and nothing in it is believed that a hash can show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "format/sha256.h"
#include "swarm/peer_address.h"

namespace doppler {

// To the swarm process: the first message, once, what it is to do.
struct StartMessage {
  enum class Task : std::uint8_t {
    kDescribe,  // fetch the info dictionary; no file is touched
    kSeed,      // serve what is there; the folder is only read
    kFetch,     // fetch the files that are wanted, and serve
    kOnDemand,  // likewise, of which each is asked for by a message of its own
  };
  Task task = Task::kSeed;
  std::string folder;         // the artifact's
  std::string manifest_file;  // the manifest's name in it
  std::string torrent;        // a .torrent file; empty for kDescribe
  Digest info_hash{};
  // Of each of the torrent's pieces, file by file, whether the program has verified it: 8 in a
  // byte, the first in the highest bit.
  std::vector<std::uint8_t> have;
  // PEM texts of a member of the team whose torrent it is; empty: it is nobody's.
  std::string authority;
  std::string certificate;
  std::string private_key;
  std::vector<PeerAddress> peers;
  std::vector<std::string> trackers;
  std::vector<std::string> web_seeds;
  std::uint16_t port = 0;  // 0: any
  bool dht = false;
  std::vector<PeerAddress> dht_nodes;  // of a DHT to use in place of the public one
  bool local_discovery = false;
  bool peer_exchange = false;
  bool private_only = false;       // only addresses of private networks
  bool serve = true;               // send to others what is there
  bool watch = false;              // tell of the peers that are connected, a few times a second
  std::uint64_t upload_limit = 0;  // bytes per second; 0: none
  // Of kOnDemand: for how long nothing comes, goes or is wanted before connections are made anew.
  std::uint32_t idle_milliseconds = 0;
};

// Which files are wanted now: [file of the torrent], 0: not, 7: before all others.
struct WantMessage {
  std::vector<std::uint8_t> priorities;
};

// Peers to connect to, as soon as possible and again whenever they are lost.
struct ConnectMessage {
  std::vector<PeerAddress> peers;
};

struct StopMessage {};

// One file is wanted, beside those before it: what costs as little for a model of many files.
struct WantFileMessage {
  std::uint32_t file = 0;
  std::uint8_t priority = 0;  // as in WantMessage
};

// These files are not to be served or kept any more: the program will remove them. One such message
// at a time.
struct ForgetMessage {
  std::vector<std::uint32_t> files;
};

// From the swarm process: it listens.
struct ReadyMessage {
  std::uint16_t port = 0;
  bool confined = false;  // the kernel keeps it to its folder
};

// The info dictionary as peers sent it; its hash is the link's.
struct DescriptionMessage {
  std::string info;
  std::vector<PeerAddress> peers;  // that are connected
};

struct StatusMessage {
  std::uint32_t peers = 0;
  std::uint32_t seeds = 0;          // of these, who have everything
  std::uint64_t download_rate = 0;  // bytes per second, of files' bytes
  std::uint64_t upload_rate = 0;
  std::uint64_t downloaded = 0;  // since the start
  std::uint64_t uploaded = 0;
  std::uint64_t wanted_done = 0;  // bytes of wanted files that are there
  std::uint64_t wanted = 0;
  std::uint64_t verified_pieces = 0;  // arrived with their hashes: nothing else is progress
  std::uint64_t failed_pieces = 0;    // arrived with a wrong hash
};

// All pieces of a file have arrived and have their hashes.
struct FileMessage {
  std::uint32_t file = 0;
};

struct LayerMessage {
  std::uint32_t file = 0;
  std::vector<Digest> layer;
};

// A peer that sent wrong bytes: nothing more is taken from it.
struct BannedMessage {
  PeerAddress peer;
};

// A peer that libtorrent has banned for pieces to which others contributed too: it is called again.
struct PardonedMessage {
  PeerAddress peer;
};

// What was to be forgotten is: nobody is told that the files are here, and none is open.
struct ForgottenMessage {};

// A file that is not on disk as it was said to be: nobody is told any more that it is here.
struct DamagedMessage {
  std::uint32_t file = 0;
};

// A peer that is connected, by its own word.
struct PeerState {
  PeerAddress address;
  bool incoming = false;             // its port is then not where it listens
  std::string client;                // the program's name; any bytes
  std::uint32_t round_trip_ms = 0;   // how long connecting took; 0: not known
  std::uint64_t downloaded = 0;      // from it, bytes of files
  std::vector<std::uint8_t> pieces;  // as StartMessage::have; empty: none
};

// Those that are connected now; in parts, of which all but the last have `more`.
struct PeersMessage {
  std::vector<PeerState> peers;
  bool more = false;
};

// What makes it impossible to go on.
struct FailureMessage {
  std::string problem;
};

using Message = std::variant<StartMessage, WantMessage, ConnectMessage, StopMessage, ReadyMessage,
                             DescriptionMessage, StatusMessage, FileMessage, LayerMessage,
                             BannedMessage, FailureMessage, WantFileMessage, ForgetMessage,
                             ForgottenMessage, PeersMessage, PardonedMessage, DamagedMessage>;

// A torrent of 2 TiB with all its piece layers.
inline constexpr Bytes kMostFrameBytes = 2 * kGiB;
// Of what the swarm process says.
inline constexpr Bytes kMostNewsBytes = 128 * kMiB;

// REQUIRES: the frame is not larger than kMostFrameBytes.
std::string EncodeFrame(const Message& message);

// Takes bytes as they come and gives messages as they are complete.
class FrameReader {
 public:
  // `most_bytes` bounds a frame, and so what a broken sender can make this side hold.
  explicit FrameReader(Bytes most_bytes = kMostFrameBytes) : most_bytes_(most_bytes) {}

  void Add(std::span<const std::byte> bytes);
  // Throws Error for a frame that is none; the stream cannot be read any further then.
  std::optional<Message> Next();

 private:
  Bytes most_bytes_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what was not yet given
};

}  // namespace doppler
