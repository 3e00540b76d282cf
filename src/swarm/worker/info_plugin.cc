#include "swarm/worker/info_plugin.h"

#include <algorithm>
#include <utility>

#include <libtorrent/bdecode.hpp>
#include <libtorrent/entry.hpp>

#include "base/error.h"
#include "swarm/info_fetch.h"

namespace doppler {
namespace {

namespace lt = libtorrent;

constexpr int kTurnsAtOnce = 3;
constexpr std::chrono::seconds kMostSilence(3);
// Doubled each time, so that slow lines finish in the end.
constexpr std::chrono::seconds kFirstTurn(20);

}  // namespace

class InfoPeer final : public lt::peer_plugin {
 public:
  InfoPeer(InfoPlugin& plugin, lt::peer_connection_handle peer)
      : plugin_(plugin), peer_(std::move(peer)) {}

  void add_handshake(lt::entry& handshake) override {
    handshake["m"]["ut_metadata"] = std::int64_t{kOurMetadataId};
  }

  bool on_extension_handshake(const lt::bdecode_node& handshake) override {
    if (handshake.type() != lt::bdecode_node::dict_t || fetch_.HasBegun()) return true;
    const lt::bdecode_node names = handshake.dict_find_dict("m");
    // One that does not have it yet may have it later, over another connection.
    if (!names || names.dict_find_int_value("ut_metadata") <= 0) return true;
    const std::int64_t size = handshake.dict_find_int_value("metadata_size");
    if (size == 0) return true;
    OrCut([&] { fetch_.Begin(names.dict_find_int_value("ut_metadata"), size); });
    plugin_.GiveTurns();
    return true;
  }

  bool on_extended(int length, int message, lt::span<const char> body) override {
    if (message != kOurMetadataId) return false;
    // Called for each part that comes, with all parts so far.
    if (body.size() < length || !fetch_.HasBegun()) return true;
    OrCut([&] {
      fetch_.Take({body.data(), static_cast<std::size_t>(body.size())});
      last_piece_ = Clock::now();
      if (fetch_.IsComplete()) {
        if (!plugin_.Offer(fetch_.info())) Throw("a peer gives another info dictionary");
        has_turn_ = false;
      } else if (has_turn_) {
        Ask();
      }
    });
    return true;
  }

  bool Waits() const { return fetch_.HasBegun() && !has_turn_ && !IsGone(); }
  bool HasTurn() const { return has_turn_ && !IsGone(); }
  bool IsGone() const { return peer_.native_handle() == nullptr || peer_.is_disconnecting(); }
  lt::tcp::endpoint address() const { return peer_.remote(); }
  Clock::duration Silence(Clock::time_point now) const { return now - last_piece_; }
  Clock::duration Turn(Clock::time_point now) const { return now - turn_since_; }

  void BeginTurn() {
    has_turn_ = true;
    turn_since_ = last_piece_ = Clock::now();
    Ask();
  }
  // What was asked for may still come.
  void EndTurn() { has_turn_ = false; }
  void Cut() {
    peer_.disconnect(lt::errors::invalid_metadata_message, lt::operation_t::bittorrent);
  }

 private:
  template <typename Action>
  void OrCut(const Action& action) {
    try {
      action();
    } catch (const Error&) {
      Cut();
      plugin_.GiveTurns();
    }
  }

  void Ask() {
    constexpr char kExtended = 20;
    while (const std::optional<std::string> request = fetch_.NextRequest()) {
      const std::size_t size = request->size() + 2;
      std::string frame;
      for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift);
      frame += kExtended;
      frame += static_cast<char>(fetch_.peer_id());
      frame += *request;
      peer_.send_buffer(frame.data(), static_cast<int>(frame.size()));
    }
  }

  InfoPlugin& plugin_;
  lt::peer_connection_handle peer_;
  InfoFetch fetch_;
  bool has_turn_ = false;
  Clock::time_point turn_since_;
  Clock::time_point last_piece_;
};

InfoPlugin::InfoPlugin(const Digest& info_hash, std::function<void()> on_found)
    : info_hash_(info_hash), on_found_(std::move(on_found)), longest_turn_(kFirstTurn) {}

std::shared_ptr<lt::peer_plugin> InfoPlugin::new_connection(
    const lt::peer_connection_handle& peer) {
  if (peer.type() != lt::connection_type::bittorrent) return {};
  return peers_.emplace_back(std::make_shared<InfoPeer>(*this, peer));
}

void InfoPlugin::tick() {
  std::erase_if(peers_, [](const auto& peer) { return peer->IsGone(); });
  EndTurns(Clock::now());
  GiveTurns();
}

void InfoPlugin::EndTurns(Clock::time_point now) {
  const bool others_wait =
      std::any_of(peers_.begin(), peers_.end(), [](const auto& peer) { return peer->Waits(); });
  for (const std::shared_ptr<InfoPeer>& peer : peers_) {
    if (!peer->HasTurn()) continue;
    if (peer->Silence(now) > kMostSilence) peer->EndTurn();
    if (others_wait && peer->Turn(now) > longest_turn_) {
      longest_turn_ *= 2;
      peer->Cut();
    }
  }
}

void InfoPlugin::GiveTurns() {
  if (is_found_) return;
  auto places = kTurnsAtOnce - std::count_if(peers_.begin(), peers_.end(),
                                             [](const auto& peer) { return peer->HasTurn(); });
  for (; places > 0; --places) {
    InfoPeer* next = nullptr;
    for (const std::shared_ptr<InfoPeer>& peer : peers_) {
      if (!peer->Waits()) continue;
      if (next == nullptr || turns_[peer->address()] < turns_[next->address()]) next = peer.get();
    }
    if (next == nullptr) return;
    ++turns_[next->address()];
    next->BeginTurn();
  }
}

bool InfoPlugin::Offer(const std::string& info) {
  if (Sha256(std::as_bytes(std::span(info))) != info_hash_) return false;
  if (std::exchange(is_found_, true)) return true;
  {
    const std::lock_guard lock(mutex_);
    found_ = info;
  }
  on_found_();
  return true;
}

std::optional<std::string> InfoPlugin::TakeFound() {
  const std::lock_guard lock(mutex_);
  return std::exchange(found_, std::nullopt);
}

}  // namespace doppler
