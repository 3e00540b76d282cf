#include "e2e/swarm_runner.h"

namespace doppler {

fs::path Runner::Folder() const {
  const std::vector<std::string> names =
      fs::exists(Store()) ? Entries(Store()) : std::vector<std::string>();
  return names.empty() ? fs::path() : Store() / names.front();
}

std::size_t Runner::ExpertsBegun() const {
  const fs::path folder = Folder();
  if (folder.empty() || !fs::exists(folder / "manifest.json")) return 0;
  std::size_t shards = 0;
  for (const std::string& name : Entries(folder / "shards")) {
    shards += name.ends_with(".bin") ? 1 : 0;
  }
  return shards - 1;
}

ProcessResult Runner::Run(const std::string& model, const std::vector<std::string>& flags,
                          ProcessOptions options) const {
  std::vector<std::string> arguments = {"run", model, "--swarm", "--private", "-p",   "Once upon",
                                        "-n",  "6",   "--cold",  "--stats",   Stats()};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  fs::remove(Stats());
  options.environment = {{"DOPPLER_STORE", Store()}};
  return Doppler(arguments, options);
}

const std::string& LocalText() {
  static const std::string text =
      Output({"run", DemoModel(), "-p", "Once upon", "-n", "6", "--cold"});
  return text;
}

ProcessOptions InTheMiddle(const Runner& runner, const std::function<void(pid_t)>& action) {
  ProcessOptions options;
  options.signal_when = [&runner, action, done = false](const RunningProcess& process) mutable {
    if (!done && runner.ExpertsBegun() >= 8) {
      action(process.id);
      done = true;
    }
    return false;
  };
  return options;
}

void LinkDemoModel(const fs::path& to, const std::function<bool(std::size_t)>& has) {
  fs::create_directories(to / "shards");
  for (const std::string& name : Entries(DemoModel())) {
    if (fs::is_regular_file(DemoModel() / name) && name != "usage.cache") {
      fs::copy_file(DemoModel() / name, to / name);
    }
  }
  for (const std::string& name : Entries(DemoModel() / "shards")) {
    const std::size_t shard = std::stoull(name);
    if (shard == 0 || has(shard)) {
      fs::create_hard_link(DemoModel() / "shards" / name, to / "shards" / name);
    }
  }
}

}  // namespace doppler
