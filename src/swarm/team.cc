#include "swarm/team.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAuthorityFile = "ca.pem";
constexpr const char* kAuthorityKeyFile = "ca.key.pem";
constexpr const char* kMemberFile = "member.pem";
constexpr const char* kMemberKeyFile = "member.key.pem";

constexpr const char* kNoTeam =
    "the model is a team's, and only its members can fetch it; give your folder of the team with "
    "--team FOLDER";
constexpr const char* kNoTeamModel =
    "the model is not a team's: anybody can take part in its swarm and its transfers are not "
    "secret; leave --team out, or share it with --team";

// Nobody else can read it at any moment.
void WritePrivateFile(const fs::path& path, std::string_view text) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) Throw("cannot create '{}': {}", path.string(), std::strerror(errno));
  errno = ENOSPC;  // what it means when less is written
  const ssize_t written = ::write(descriptor, text.data(), text.size());
  const bool done = written == static_cast<ssize_t>(text.size()) && ::fsync(descriptor) == 0;
  const int problem = errno;
  ::close(descriptor);
  if (!done) Throw("cannot write '{}': {}", path.string(), std::strerror(problem));
}

std::string ReadPrivateFile(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0) {
    Throw("'{}' can be read by others than its owner; change that with 'chmod 600'", path.string());
  }
  return ReadTextFile(path, kMostPemBytes);
}

std::string ReadAuthority(const fs::path& folder) {
  if (!fs::exists(folder / kAuthorityFile)) {
    Throw("'{}' is not a team's folder: there is no {} in it; 'doppler team' makes one",
          folder.string(), kAuthorityFile);
  }
  std::string text = ReadTextFile(folder / kAuthorityFile, kMostPemBytes);
  try {
    RequireAuthority(text);
  } catch (const Error& error) {
    Throw("'{}': {}", (folder / kAuthorityFile).string(), error.what());
  }
  return text;
}

void WriteMember(const fs::path& folder, const std::string& authority, const KeyPair& member) {
  WriteTextFile(folder / kAuthorityFile, authority);
  WriteTextFile(folder / kMemberFile, member.certificate);
  WritePrivateFile(folder / kMemberKeyFile, member.private_key);
}

void RequireGoodFor(const Team& team, std::string_view model) {
  const std::vector<std::string> models = ModelsOf(team.member.certificate);
  const bool good = std::any_of(models.begin(), models.end(), [model](const std::string& name) {
    return name == "*" || name == model;
  });
  if (good) return;
  Throw("the certificate '{}' is for {} and not for the model '{}'; ask who runs the team for one",
        (team.folder / kMemberFile).string(), fmt::join(models, ", "), model);
}

}  // namespace

void MakeTeam(const fs::path& folder, const TeamOptions& options) {
  const KeyPair authority = MakeAuthority(options.name, ValidFor(options.days));
  StagingFolder staging(folder);
  WriteMember(staging.path(), authority.certificate,
              MakeMember(authority, options.name, {}, ValidFor(options.member_days)));
  WritePrivateFile(staging.path() / kAuthorityKeyFile, authority.private_key);
  staging.Commit();
}

void InviteMember(const fs::path& folder, const InviteOptions& options) {
  const std::string authority = ReadAuthority(folder);
  if (!fs::exists(folder / kAuthorityKeyFile)) {
    Throw("'{}' has no {}: only who runs the team can invite", folder.string(), kAuthorityKeyFile);
  }
  const KeyPair pair = {.certificate = authority,
                        .private_key = ReadPrivateFile(folder / kAuthorityKeyFile)};
  std::error_code error;
  fs::create_directories(options.output.parent_path(), error);
  StagingFolder staging(options.output);
  WriteMember(staging.path(), authority,
              MakeMember(pair, options.name, options.models, ValidFor(options.days)));
  staging.Commit();
}

Team ReadTeam(const fs::path& folder) {
  Team team;
  team.folder = folder;
  team.authority = ReadAuthority(folder);
  team.member.certificate = ReadTextFile(folder / kMemberFile, kMostPemBytes);
  team.member.private_key = ReadPrivateFile(folder / kMemberKeyFile);
  RequireSigned(team.member, team.authority,
                fmt::format("the certificate '{}'", (folder / kMemberFile).string()),
                std::time(nullptr));
  return team;
}

void RequireMember(const Team* team, std::string_view authority, std::string_view model) {
  RequireMemberForLink(team, authority.empty() ? std::nullopt : std::optional(TeamHash(authority)),
                       model);
}

void RequireMemberForLink(const Team* team, const std::optional<Digest>& team_hash,
                          std::string_view model) {
  if (team == nullptr) {
    if (team_hash) Throw("{}", kNoTeam);
    return;
  }
  if (!team_hash) Throw("{}", kNoTeamModel);
  if (TeamHash(team->authority) != *team_hash) {
    Throw("the model belongs to another team than '{}'; give your folder of its own with --team",
          team->folder.string());
  }
  if (!model.empty()) RequireGoodFor(*team, model);
}

}  // namespace doppler
