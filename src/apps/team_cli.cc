#include <memory>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/swarm_cli.h"

namespace doppler {
namespace {

constexpr int kMostDays = 36500;

void AddDays(CLI::App& app, int& days, int by_default, const char* help) {
  days = by_default;
  app.add_option("--days", days, help)
      ->check(CLI::Range(1, kMostDays))
      ->capture_default_str()
      ->type_name("DAYS");
}

void AddTeamNew(CLI::App& parent) {
  CLI::App* app =
      parent.add_subcommand("new", "Make a team: its authority, and a first member, who runs it");
  const auto command = std::make_shared<TeamNewCommand>();
  app->add_option("FOLDER", command->folder, "Folder to make; its name is the team's")->required();
  app->add_option("--name", command->name, "Name of the team");
  AddDays(*app, command->days, 3650, "How long the authority is good");
  app->callback([command] { RunTeamNew(*command); });
}

void AddTeamInvite(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("invite", "Make the folder of a new member");
  const auto command = std::make_shared<TeamInviteCommand>();
  app->add_option("FOLDER", command->folder, "Folder of the team, as 'team new' made it")
      ->required();
  app->add_option("NAME", command->name, "Name of the member")->required();
  app->add_option("--model", command->models,
                  "Let the member join the swarm of this model alone, by its name; may be repeated")
      ->allow_extra_args(false)
      ->type_name("MODEL");
  app->add_option("--out", command->output, "Folder to make; by default FOLDER/members/NAME")
      ->type_name("DIR");
  AddDays(*app, command->days, 365, "How long the membership is good");
  app->callback([command] { RunTeamInvite(*command); });
}

}  // namespace

void AddTeamCommand(CLI::App& parent) {
  CLI::App* app =
      parent.add_subcommand("team", "Teams, whose members alone take part in their swarms");
  app->require_subcommand(1);
  AddTeamNew(*app);
  AddTeamInvite(*app);
}

}  // namespace doppler
