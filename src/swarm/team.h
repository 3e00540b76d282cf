// A team: who may take part in the swarms of its models.
//
// The folder of who runs it, and what each member gets of it:
//
//   ca.pem          the authority's certificate, in the torrents of the team's models
//   ca.key.pem      its private key, which makes members: for who runs the team alone
//   member.pem      the member's certificate
//   member.key.pem  its private key
//
// Private keys can be read by their owner only, or are refused.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/sha256.h"
#include "swarm/certificate.h"

namespace doppler {

// What a member needs to speak to the others.
struct Team {
  std::filesystem::path folder;  // for messages
  std::string authority;         // PEM text, as RequireAuthority takes it
  KeyPair member;
};

struct TeamOptions {
  std::string name;
  int days = 3650;
  int member_days = 365;  // of who runs it
};

// Makes a new team in `folder`, which must not exist, with a first member, who runs it. Throws
// Error.
void MakeTeam(const std::filesystem::path& folder, const TeamOptions& options);

struct InviteOptions {
  std::string name;
  std::vector<std::string> models;  // that the member may join; empty: all of the team's
  int days = 365;
  std::filesystem::path output;  // must not exist
};

// Makes the folder of a new member. Throws Error, also if `folder` is not that of who runs the
// team.
void InviteMember(const std::filesystem::path& folder, const InviteOptions& options);

// Reads a member's folder. Throws Error unless its certificate is the team's and good today.
Team ReadTeam(const std::filesystem::path& folder);

// Throws Error unless the member may join the swarm of a model of this name, whose torrent has
// `authority` in it. Without a team: unless the torrent is nobody's.
void RequireMember(const Team* team, std::string_view authority, std::string_view model);
// The same as far as a link tells; its model may have no name.
void RequireMemberForLink(const Team* team, const std::optional<Digest>& team_hash,
                          std::string_view model);

}  // namespace doppler
