// Who sent the blocks of pieces that came with wrong hashes.
//
// libtorrent bans a peer that alone sent such a piece, and also one that had a part in several of
// them: beside a liar that can be an honest one. Only what was sent alone is evidence here.
#pragma once

#include <cstdint>
#include <map>
#include <set>

namespace doppler {

// `Peer` is what names a peer. Used by one thread.
template <typename Peer>
class Strikes {
 public:
  // As many failures in company as libtorrent 2.0 bans for (torrent::penalize_peers).
  static constexpr int kBannedInCompany = 4;
  // Who is banned in company again and again is a liar that is careful.
  static constexpr int kMostPardons = 2;

  // A block of the piece came, that was asked for.
  void Came(int piece, const Peer& peer) { senders_[piece].insert(peer); }
  void Passed(int piece) { senders_.erase(piece); }
  void Failed(int piece) {
    const auto found = senders_.find(piece);
    if (found == senders_.end()) return;
    for (const Peer& peer : found->second) {
      Account& account = accounts_[peer];
      ++(found->second.size() == 1 ? account.alone : account.in_company);
    }
    senders_.erase(found);
  }

  // libtorrent has banned the peer. Whether it was for failures in company alone, so that the ban
  // is to be undone; the peer's account is then begun anew.
  bool Pardons(const Peer& peer) {
    Account& account = accounts_[peer];
    if (account.alone > 0 || account.in_company < kBannedInCompany ||
        account.pardons >= kMostPardons) {
      return false;
    }
    account.in_company = 0;
    ++account.pardons;
    return true;
  }

 private:
  struct Account {
    int alone = 0;  // failed pieces
    int in_company = 0;
    int pardons = 0;
  };

  std::map<int, std::set<Peer>> senders_;  // of pieces that are coming
  std::map<Peer, Account> accounts_;       // of peers that had a part in a failed piece
};

}  // namespace doppler
