// Certificates of a team (X.509, RFC 5280): the authority's, which stands in the torrents of the
// team's models and signs those of members, and members', with which peers prove themselves to each
// other (TLS).
//
// Everything is PEM text. Keys are Ed25519. A member's certificate says for which models it is good
// as libtorrent reads it: DNS names among its alternative names, "*" for all.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "format/sha256.h"

namespace doppler {

// Of one certificate or key as text.
inline constexpr Bytes kMostPemBytes = 8 * kKiB;

struct KeyPair {
  std::string certificate;
  std::string private_key;
};

// Seconds since 1970.
struct Validity {
  std::time_t begin = 0;
  std::time_t end = 0;
};

// For `days` from now on, and from yesterday, as clocks differ. REQUIRES: days > 0.
Validity ValidFor(int days);

// A new authority, which signs itself. REQUIRES: IsPlainName(team).
KeyPair MakeAuthority(std::string_view team, const Validity& validity);
// A new member. `models`: the names of those that it may join; empty: all of the team's. Throws
// Error if `authority` is no pair of a certificate and its key. REQUIRES: IsPlainName(member),
// names of models.
KeyPair MakeMember(const KeyPair& authority, std::string_view member,
                   const std::vector<std::string>& models, const Validity& validity);

// 1 to 64 letters, digits, '-', '_' and '.', no '.' first: what may be a member's or a team's name.
bool IsPlainName(std::string_view name);

// Throws Error unless the text is one certificate of an authority and nothing else, as
// MakeAuthority writes it: a certificate has one such text, so that it has one hash.
void RequireAuthority(std::string_view certificate);

// SHA-256 of the text of an authority's certificate: the team's name in links.
Digest TeamHash(std::string_view authority);

// Throws Error unless the pair is a member's that `authority` has signed, at `now`. The message
// calls the certificate `what`.
void RequireSigned(const KeyPair& member, const std::string& authority, const std::string& what,
                   std::time_t now);

// The models that a member's certificate is good for, "*" for all. Throws Error for what is no
// certificate.
std::vector<std::string> ModelsOf(const std::string& certificate);

}  // namespace doppler
