// The info dictionary from one peer (BEP 9): what to ask and what came, without the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace doppler {

// What we call messages of ut_metadata in an extension handshake (BEP 10). libtorrent has 1, 3, 4,
// 7 and 8 for others.
inline constexpr unsigned char kOurMetadataId = 2;

// Holds no more than what has come, whatever size the peer tells. Used by one thread.
class InfoFetch {
 public:
  // As the peer says in its extension handshake: its number for messages of ut_metadata, and the
  // dictionary's size in bytes. Throws Error for what neither can be.
  void Begin(std::int64_t peer_id, std::int64_t size);
  bool HasBegun() const { return size_ > 0; }
  // REQUIRES: HasBegun(), of both.
  unsigned char peer_id() const { return peer_id_; }
  // The body of a request to send now; nothing while enough is asked.
  std::optional<std::string> NextRequest();

  // The body of a message that the peer sent under kOurMetadataId. Its own requests are ignored.
  // Throws Error if it refuses, or sends what it was not asked for.
  void Take(std::string_view body);

  bool IsComplete() const { return HasBegun() && info_.size() == size_; }
  std::size_t bytes() const { return info_.size(); }
  const std::string& info() const { return info_; }

 private:
  unsigned char peer_id_ = 0;
  std::size_t size_ = 0;
  std::size_t asked_ = 0;  // pieces
  std::string info_;
};

}  // namespace doppler
