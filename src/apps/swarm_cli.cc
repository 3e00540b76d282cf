#include "apps/swarm_cli.h"

#include <charconv>
#include <functional>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/size_flags.h"

namespace doppler {
namespace {

// "none", "all" or "25%": the part of all.
double PartOf(const std::string& text) {
  if (text == "none") return 0;
  if (text == "all") return 1;
  double percent = -1;
  const char* const end = text.data() + text.size();
  const auto [last, status] = std::from_chars(text.data(), end, percent);
  const bool whole = status == std::errc() && last + 1 == end && *last == '%';
  if (!whole || !(percent >= 0 && percent <= 100)) {
    throw CLI::ValidationError("--experts", "'" + text + "' is not none, all or a part as 25%");
  }
  return percent / 100;
}

void AddPeerFlag(CLI::App& app, SwarmFlags& swarm, const char* help) {
  app.add_option("--peer", swarm.peers, help)->allow_extra_args(false)->type_name("HOST:PORT");
}

void AddTrust(CLI::App& app, std::string& trust) {
  app.add_option("--trust", trust,
                 "Refuse a model that is not signed with the Ed25519 key whose public half is in "
                 "this PEM file")
      ->type_name("KEY");
}

void AddSwarmFlags(CLI::App& app, SwarmFlags& swarm) {
  app.add_option("--tracker", swarm.trackers,
                 "Ask this tracker for peers (http://, https://, udp://); may be repeated")
      ->allow_extra_args(false)
      ->type_name("URL");
  app.add_option("--web-seed", swarm.web_seeds,
                 "Plain web server with the model's folder below this address; may be repeated")
      ->allow_extra_args(false)
      ->type_name("URL");
  app.add_option("--team", swarm.team,
                 "Take part as the member whose folder this is: only members of the team are "
                 "spoken to, over TLS ('doppler team' makes such folders)")
      ->type_name("FOLDER");
  app.add_option("--port", swarm.port, "Port to listen on, TCP and UDP; by default any")
      ->check(CLI::Range(1, 65535));
  app.add_flag("--private", swarm.private_only,
               "Speak only to private networks, and ask no one but given peers and trackers: no "
               "DHT, local discovery or peer exchange");
  app.add_flag_callback(
      "--no-dht", [&swarm] { swarm.dht = false; }, "Do not look for peers in the public DHT");
  app.add_option("--dht-node", swarm.dht_nodes,
                 "Use the DHT that this node is in, and not the public one; may be repeated. Any "
                 "doppler with this flag is a node, on its --port")
      ->allow_extra_args(false)
      ->type_name("HOST:PORT");
  app.add_flag_callback(
      "--no-lsd", [&swarm] { swarm.local_discovery = false; },
      "Do not look for peers by multicast in the local network");
  app.add_flag_callback(
      "--no-pex", [&swarm] { swarm.peer_exchange = false; },
      "Do not exchange addresses of peers with peers");
  AddSize(
      app, "--upload-limit", [&swarm](Bytes bytes) { swarm.upload_limit = bytes; },
      "Bytes per second to send at most, as 5M", "RATE");
}

}  // namespace

void AddShareCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("share", "Serve a model to peers; prints its link");
  const auto command = std::make_shared<ShareCommand>();
  app->add_option("MODEL", command->model,
                  "Artifact folder, or the name of a model in the local store")
      ->required();
  app->add_option("--torrent", command->torrent_file, "Write the .torrent to this file")
      ->type_name("FILE");
  app->add_option("--address", command->addresses,
                  "Address of this machine to put into the link, so that no tracker is needed; may "
                  "be repeated")
      ->allow_extra_args(false)
      ->type_name("HOST:PORT");
  app->add_option("--sign", command->signing_key,
                  "Sign the model with the Ed25519 key in this PEM file")
      ->type_name("KEY");
  AddPeerFlag(*app, command->swarm, "Connect to this peer; may be repeated");
  app->add_flag("--json", command->json, "Print JSON: a line at the start, one at the end");
  AddSwarmFlags(*app, command->swarm);
  app->callback([command] { RunShare(*command); });
}

void AddPullCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("pull", "Fetch a model from peers");
  const auto command = std::make_shared<PullCommand>();
  app->add_option("LINK", command->source, "The link that 'share' prints, or a .torrent file")
      ->required();
  app->add_option("--out", command->output,
                  "Folder for the model; by default its name in the local store")
      ->type_name("DIR");
  CLI::Option* experts = app->add_option_function<std::string>(
      "--experts", [command](const std::string& text) { command->experts = PartOf(text); },
      "Which part of the experts to have in the end (default all)");
  experts->type_name("none|all|N%");
  app->add_flag_callback(
         "--dense-only", [command] { command->experts = 0; }, "The same as --experts none")
      ->excludes(experts);
  AddTrust(*app, command->trust);
  AddPeerFlag(*app, command->swarm, "Fetch from this peer; may be repeated");
  app->add_flag_callback(
      "--no-seed", [command] { command->serve = false; }, "Send nothing to others meanwhile");
  app->add_option("--timeout", command->timeout_seconds,
                  "Fail when nothing has come for so many seconds; by default it waits")
      ->check(CLI::Range(1.0, 1e9))
      ->type_name("SECONDS");
  app->add_flag("--json", command->json, "Print JSON");
  AddSwarmFlags(*app, command->swarm);
  app->callback([command] { RunPull(*command); });
}

void AddPeersCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("peers", "Who has how much of a model");
  const auto command = std::make_shared<PeersCommand>();
  app->add_option("MODEL", command->model,
                  "Artifact folder, the name of a model in the local store, a link or a .torrent "
                  "file")
      ->required();
  app->add_option("--wait", command->seconds, "Listen for so many seconds")
      ->check(CLI::Range(0.5, 1e6))
      ->capture_default_str()
      ->type_name("SECONDS");
  AddSize(
      *app, "--probe", [command](Bytes bytes) { command->probe = bytes; },
      "Fetch so many bytes of experts, to be thrown away, to see how fast peers are");
  AddPeerFlag(*app, command->swarm, "Connect to this peer; may be repeated");
  app->add_flag("--json", command->json, "Print JSON");
  AddSwarmFlags(*app, command->swarm);
  app->callback([command] { RunPeers(*command); });
}

void AddRunFromSwarm(CLI::App& app, RunFromSwarm& flags) {
  CLI::Option* swarm = app.add_flag(
      "--swarm", flags.on,
      "Fetch experts that are not on this machine from peers, as they are needed; MODEL "
      "may then be a link or a .torrent file");
  // Without --swarm it is refused with more words than those of the others.
  AddSize(
      app, "--disk-cache", [&flags](Bytes bytes) { flags.disk_cache = bytes; },
      "With --swarm: bytes of experts to keep on disk at most; those least used are removed");
  AddTrust(app, flags.trust);
  const std::size_t before = app.get_options().size();
  AddPeerFlag(app, flags.swarm, "Fetch from this peer; may be repeated");
  app.add_option("--swarm-timeout", flags.timeout_seconds,
                 "Fail when an expert is waited for and nothing has come for so many seconds")
      ->check(CLI::Range(1.0, 1e9))
      ->capture_default_str()
      ->type_name("SECONDS");
  app.add_flag_callback(
      "--no-seed", [&flags] { flags.serve = false; }, "Send nothing to others meanwhile");
  AddSwarmFlags(app, flags.swarm);
  const std::vector<CLI::Option*> options = app.get_options();
  for (std::size_t i = before; i < options.size(); ++i) options[i]->needs(swarm);
}

}  // namespace doppler
