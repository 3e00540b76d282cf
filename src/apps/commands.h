// The commands of the `doppler` program: what each can be told, and the function that does it.
//
// cli.cc turns the command line into these options; the functions do the work, print to the given
// streams' standard places, and throw Error on failure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "backend/weight_layout.h"
#include "base/bytes.h"
#include "engine/chat.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/replay.h"
#include "format/manifest.h"

namespace doppler {

struct ConvertCommand {
  std::string checkpoint;
  std::string output;
  std::optional<DType> quantize;
  ShardingStrategy sharding = ShardingStrategy::kExpert;
  Bytes shard_size = 0;
  std::optional<WeightLayout> layout;
};
void RunConvert(const ConvertCommand& command);

// Where `share`, `pull` and `--swarm` find peers, and whom they let be one.
struct SwarmFlags {
  std::vector<std::string> peers;
  std::vector<std::string> trackers;
  std::vector<std::string> web_seeds;
  std::string team;  // folder of a member; empty: the model is nobody's
  std::uint16_t port = 0;
  bool private_only = false;
  bool dht = true;
  std::vector<std::string> dht_nodes;
  bool local_discovery = true;
  bool peer_exchange = true;
  Bytes upload_limit = 0;  // per second; 0: none
};

// How a command that runs a model gets experts that are not on this machine. With `on` its model
// may be a link or a .torrent file.
struct RunFromSwarm {
  bool on = false;
  bool serve = true;
  double timeout_seconds = 30;
  std::optional<Bytes> disk_cache;  // of expert shards; nothing: no bound
  std::string trust;                // as in PullCommand, and also of a model on this machine
  SwarmFlags swarm;
};

struct RunCommand {
  std::string model;
  std::optional<std::string> prompt;
  std::string prompt_file;
  bool echo = false;
  std::string stats_file;
  std::string trace_file;
  bool cold = false;
  RunFromSwarm from_swarm;
  Bytes device_memory = 0;
  EngineOptions engine;
  GenerateOptions generate;
};
void RunRun(const RunCommand& command);

struct ChatCommand {
  std::string model;
  std::string template_file;  // empty: the model's own
  bool json = false;
  bool hide_thinking = false;
  RunFromSwarm from_swarm;
  EngineOptions engine;
  ChatOptions chat;
};
void RunChat(const ChatCommand& command);

struct PlanCommand {
  std::string model;              // or
  std::string config_file;        // a hub checkpoint's config.json
  std::optional<DType> quantize;  // of a model that is planned from its configuration
  bool probe = false;
  bool json = false;
  EngineOptions engine;
};
void RunPlan(const PlanCommand& command);

struct InspectCommand {
  std::string model;
  bool json = false;
  bool tensors = false;
};
void RunInspect(const InspectCommand& command);

struct VerifyCommand {
  std::string model;
  int threads = 0;
  bool json = false;
};
void RunVerify(const VerifyCommand& command);

struct ShareCommand {
  std::string model;
  std::string torrent_file;            // to write; empty: none
  std::vector<std::string> addresses;  // of this machine, for the link
  std::string signing_key;             // file; empty: none
  bool json = false;
  SwarmFlags swarm;
};
void RunShare(const ShareCommand& command);

struct PullCommand {
  std::string source;  // a link or a .torrent file
  std::string output;  // empty: in the local store, under the model's name
  double experts = 1;  // the part of them
  std::string trust;   // file of the only key to trust; empty: any
  bool serve = true;
  double timeout_seconds = 0;
  bool json = false;
  SwarmFlags swarm;
};
void RunPull(const PullCommand& command);

struct PeersCommand {
  std::string model;  // or a link, or a .torrent file
  double seconds = 5;
  Bytes probe = 0;
  bool json = false;
  SwarmFlags swarm;
};
void RunPeers(const PeersCommand& command);

struct TeamNewCommand {
  std::string folder;
  std::string name;
  int days = 0;
};
void RunTeamNew(const TeamNewCommand& command);

struct TeamInviteCommand {
  std::string folder;
  std::string name;
  std::vector<std::string> models;  // empty: all of the team's
  std::string output;               // empty: below the folder
  int days = 0;
};
void RunTeamInvite(const TeamInviteCommand& command);

struct TokenizeCommand {
  std::string model;                // or a hub folder, or a GGUF file
  std::optional<std::string> text;  // one of these three
  std::string text_file;
  std::string lines_file;  // of JSON strings, one in each line
  std::optional<bool> add_bos;
  bool json = false;
};
void RunTokenize(const TokenizeCommand& command);

struct LogitsCommand {
  std::string model;
  std::string ids_file;
  std::string output;
  RunFromSwarm from_swarm;
  EngineOptions engine;
};
void RunLogits(const LogitsCommand& command);

struct PerplexityCommand {
  std::string model;
  std::string ids_file;
  int row = 0;
  bool json = false;
  RunFromSwarm from_swarm;
  EngineOptions engine;
};
void RunPerplexity(const PerplexityCommand& command);

struct BenchCommand {
  std::string model;
  int prefill = 512;
  int decode = 64;
  int repetitions = 3;
  std::vector<Bytes> budgets;  // with contexts, if either is there: every pair is measured
  std::vector<int> contexts;   // in place of prefill
  std::string csv_file;
  std::string svg_file;
  bool json = false;
  RunFromSwarm from_swarm;
  EngineOptions engine;
};
void RunBench(const BenchCommand& command);

struct ReplayCommand {
  std::string trace;
  std::vector<ReplayPolicy> policies;
  std::vector<std::size_t> slots;
  std::vector<Bytes> budgets;  // of expert slots
  double half_life_tokens = kDefaultHalfLifeTokens;
  bool json = false;
};
void RunReplay(const ReplayCommand& command);

}  // namespace doppler
