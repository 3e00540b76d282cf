#include <filesystem>

#include <spdlog/spdlog.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/error.h"
#include "io/file.h"
#include "swarm/team.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

void RequirePlainName(const std::string& what, const std::string& name) {
  if (IsPlainName(name)) return;
  throw UsageError(fmt::format(
      "the {} '{}' is not 1 to 64 letters, digits, '-', '_' and '.', no '.' first", what, name));
}

}  // namespace

void RunTeamNew(const TeamNewCommand& command) {
  const std::filesystem::path folder = WithoutTrailingSlash(command.folder);
  TeamOptions options;
  options.name = command.name.empty() ? folder.filename().string() : command.name;
  options.days = command.days;
  RequirePlainName("name of a team", options.name);
  MakeTeam(folder, options);
  spdlog::info("made the team '{}'; keep '{}' secret", options.name,
               (folder / "ca.key.pem").string());
}

void RunTeamInvite(const TeamInviteCommand& command) {
  const std::filesystem::path folder = WithoutTrailingSlash(command.folder);
  InviteOptions options;
  options.name = command.name;
  options.models = command.models;
  options.days = command.days;
  RequirePlainName("name of a member", options.name);
  for (const std::string& model : options.models) {
    if (!IsModelName(model)) throw UsageError(fmt::format("no model has the name '{}'", model));
  }
  options.output = command.output.empty() ? folder / "members" / options.name
                                          : WithoutTrailingSlash(command.output);
  InviteMember(folder, options);
  Print(options.output.string() + "\n");
  spdlog::info("give this folder to '{}' by a way that nobody else can read", options.name);
}

}  // namespace doppler
