#include "swarm/messages.h"

#include <cstring>
#include <utility>

#include "base/error.h"
#include "swarm/certificate.h"

namespace doppler {
namespace {

constexpr std::size_t kHeadBytes = 4;

// Bodies are written and read by the same functions, each given a Writer or a Reader.
class Writer {
 public:
  static constexpr bool kReads = false;

  template <typename Number>
  void Unsigned(const Number& value) {
    auto rest = static_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof(Number); ++i, rest >>= 8u) {
      text_ += static_cast<char>(rest & 0xffu);
    }
  }
  void Flag(const bool& value) { text_ += value ? '\1' : '\0'; }
  void Text(const std::string& value) {
    Unsigned(static_cast<std::uint32_t>(value.size()));
    text_ += value;
  }
  void Octets(const std::vector<std::uint8_t>& value) {
    Unsigned(static_cast<std::uint32_t>(value.size()));
    text_.append(value.begin(), value.end());
  }
  void Hash(const Digest& value) { text_.append(value.begin(), value.end()); }
  template <typename Value, typename Item>
  void List(const std::vector<Value>& values, const Item& item) {
    Unsigned(static_cast<std::uint32_t>(values.size()));
    for (const Value& value : values) item(*this, value);
  }

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

class Reader {
 public:
  static constexpr bool kReads = true;

  explicit Reader(std::string_view text) : text_(text) {}

  template <typename Number>
  void Unsigned(Number& value) {
    std::uint64_t number = 0;
    const std::string_view bytes = Take(sizeof(Number));
    for (std::size_t i = sizeof(Number); i-- > 0;) {
      number = number << 8u | static_cast<unsigned char>(bytes[i]);
    }
    value = static_cast<Number>(number);
  }
  void Flag(bool& value) {
    const char flag = Take(1).front();
    if (flag != '\0' && flag != '\1') Throw("a frame has a flag that is neither on nor off");
    value = flag == '\1';
  }
  void Text(std::string& value) { value = Take(Count(1)); }
  void Octets(std::vector<std::uint8_t>& value) {
    const std::string_view bytes = Take(Count(1));
    value.assign(bytes.begin(), bytes.end());
  }
  void Hash(Digest& value) {
    const std::string_view bytes = Take(value.size());
    std::memcpy(value.data(), bytes.data(), bytes.size());
  }
  template <typename Value, typename Item>
  void List(std::vector<Value>& values, const Item& item) {
    // A number of entries that the rest could not hold would only cost memory.
    constexpr std::size_t kLeastItemBytes = 4;
    const std::size_t count = Count(kLeastItemBytes);
    values.clear();
    for (std::size_t i = 0; i < count; ++i) item(*this, values.emplace_back());
  }

  void RequireEnd() const {
    if (!text_.empty()) Throw("a frame is longer than its message");
  }

 private:
  std::string_view Take(std::size_t size) {
    if (size > text_.size()) Throw("a frame ends in the middle of its message");
    const std::string_view taken = text_.substr(0, size);
    text_.remove_prefix(size);
    return taken;
  }
  std::size_t Count(std::size_t least_bytes) {
    std::uint32_t count = 0;
    Unsigned(count);
    if (count > text_.size() / least_bytes) Throw("a frame ends in the middle of its message");
    return count;
  }

  std::string_view text_;
};

template <typename Wire, typename Value>
using Of = std::conditional_t<Wire::kReads, Value, const Value>;

constexpr auto kTextItem = [](auto& wire, auto& text) { wire.Text(text); };
constexpr auto kPeerItem = [](auto& wire, auto& peer) {
  wire.Text(peer.host);
  wire.Unsigned(peer.port);
};
constexpr auto kPeerStateItem = [](auto& wire, auto& peer) {
  kPeerItem(wire, peer.address);
  wire.Flag(peer.incoming);
  wire.Text(peer.client);
  wire.Unsigned(peer.round_trip_ms);
  wire.Unsigned(peer.downloaded);
  wire.Octets(peer.pieces);
};
constexpr auto kNumberItem = [](auto& wire, auto& number) { wire.Unsigned(number); };
constexpr auto kHashItem = [](auto& wire, auto& hash) { wire.Hash(hash); };

template <typename Wire>
void Body(Wire& wire, Of<Wire, StartMessage>& message) {
  wire.Unsigned(message.task);
  wire.Text(message.folder);
  wire.Text(message.manifest_file);
  wire.Text(message.torrent);
  wire.Hash(message.info_hash);
  wire.Octets(message.have);
  for (auto* const text : {&message.authority, &message.certificate, &message.private_key}) {
    wire.Text(*text);
    if (Wire::kReads && text->size() > kMostPemBytes)
      Throw("a frame has a certificate or key that is too long");
  }
  wire.List(message.peers, kPeerItem);
  wire.List(message.trackers, kTextItem);
  wire.List(message.web_seeds, kTextItem);
  wire.Unsigned(message.port);
  wire.Flag(message.dht);
  wire.List(message.dht_nodes, kPeerItem);
  wire.Flag(message.local_discovery);
  wire.Flag(message.peer_exchange);
  wire.Flag(message.private_only);
  wire.Flag(message.serve);
  wire.Flag(message.watch);
  wire.Unsigned(message.upload_limit);
  wire.Unsigned(message.idle_milliseconds);
  if (message.task > StartMessage::Task::kOnDemand) Throw("a frame names a task that is not known");
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, WantMessage>& message) {
  wire.Octets(message.priorities);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, ConnectMessage>& message) {
  wire.List(message.peers, kPeerItem);
}

template <typename Wire>
void Body(Wire& /*wire*/, Of<Wire, StopMessage>& /*message*/) {}

template <typename Wire>
void Body(Wire& wire, Of<Wire, ReadyMessage>& message) {
  wire.Unsigned(message.port);
  wire.Flag(message.confined);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, DescriptionMessage>& message) {
  wire.Text(message.info);
  wire.List(message.peers, kPeerItem);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, StatusMessage>& message) {
  wire.Unsigned(message.peers);
  wire.Unsigned(message.seeds);
  wire.Unsigned(message.download_rate);
  wire.Unsigned(message.upload_rate);
  wire.Unsigned(message.downloaded);
  wire.Unsigned(message.uploaded);
  wire.Unsigned(message.wanted_done);
  wire.Unsigned(message.wanted);
  wire.Unsigned(message.verified_pieces);
  wire.Unsigned(message.failed_pieces);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, FileMessage>& message) {
  wire.Unsigned(message.file);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, LayerMessage>& message) {
  wire.Unsigned(message.file);
  wire.List(message.layer, kHashItem);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, BannedMessage>& message) {
  kPeerItem(wire, message.peer);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, PardonedMessage>& message) {
  kPeerItem(wire, message.peer);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, DamagedMessage>& message) {
  wire.Unsigned(message.file);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, FailureMessage>& message) {
  wire.Text(message.problem);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, WantFileMessage>& message) {
  wire.Unsigned(message.file);
  wire.Unsigned(message.priority);
}

template <typename Wire>
void Body(Wire& wire, Of<Wire, ForgetMessage>& message) {
  wire.List(message.files, kNumberItem);
}

template <typename Wire>
void Body(Wire& /*wire*/, Of<Wire, ForgottenMessage>& /*message*/) {}

template <typename Wire>
void Body(Wire& wire, Of<Wire, PeersMessage>& message) {
  wire.List(message.peers, kPeerStateItem);
  wire.Flag(message.more);
}

template <std::size_t kKind = 0>
Message ReadBody(std::size_t kind, Reader& reader) {
  if constexpr (kKind == std::variant_size_v<Message>) {
    Throw("a frame is of the kind {}, which is not known", kind);
  } else {
    if (kind != kKind) return ReadBody<kKind + 1>(kind, reader);
    std::variant_alternative_t<kKind, Message> message;
    Body(reader, message);
    reader.RequireEnd();
    return message;
  }
}

}  // namespace

std::string EncodeFrame(const Message& message) {
  Writer body;
  body.Unsigned(static_cast<std::uint8_t>(message.index()));
  std::visit([&body](const auto& typed) { Body(body, typed); }, message);
  const std::string text = body.Take();
  DOPPLER_CHECK(text.size() <= kMostFrameBytes);
  Writer frame;
  frame.Unsigned(static_cast<std::uint32_t>(text.size()));
  return frame.Take() + text;
}

void FrameReader::Add(std::span<const std::byte> bytes) {
  buffer_.erase(0, std::exchange(begin_, 0));
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<Message> FrameReader::Next() {
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (rest.size() < kHeadBytes) return std::nullopt;
  std::uint32_t size = 0;
  Reader(rest).Unsigned(size);
  if (size == 0 || size > most_bytes_) Throw("a frame has {} bytes, which none has", size);
  if (rest.size() - kHeadBytes < size) return std::nullopt;
  Reader body(rest.substr(kHeadBytes, size));
  begin_ += kHeadBytes + size;
  std::uint8_t kind = 0;
  body.Unsigned(kind);
  return ReadBody(kind, body);
}

}  // namespace doppler
