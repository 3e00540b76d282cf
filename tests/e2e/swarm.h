// Peers for tests of the swarm: programs that run beside the test until it ends them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "e2e/program.h"
#include "support/peer_wire.h"

namespace doppler {

// A program in the background. Ends with SIGINT, or before.
class BackgroundProgram {
 public:
  explicit BackgroundProgram(std::vector<std::string> command);
  ~BackgroundProgram();
  BackgroundProgram(const BackgroundProgram&) = delete;
  BackgroundProgram& operator=(const BackgroundProgram&) = delete;

  // Its first line of output, as soon as it has printed that.
  std::string FirstLine();
  pid_t id();
  // Ends it with `signal` and gives what became of it.
  ProcessResult End(int signal);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool end_ = false;
  bool over_ = false;
  pid_t id_ = 0;
  std::string output_;
  ProcessOptions options_;
  ProcessResult result_;
  std::thread thread_;
};

// `doppler share MODEL --private --json`, and more flags.
class Seed {
 public:
  explicit Seed(const fs::path& model, const std::vector<std::string>& flags = {});

  const std::string& link() const { return link_; }
  std::string peer() const { return PeerAt("127.0.0.1"); }
  // Where it is found at another address of its machine.
  std::string PeerAt(const std::string& address) const {
    return address + ":" + std::to_string(port_);
  }
  std::uint16_t port() const { return port_; }
  BackgroundProgram& program() { return program_; }

 private:
  BackgroundProgram program_;
  std::string link_;
  std::uint16_t port_ = 0;
};

// The arguments of a pull in a private swarm that gives up when nothing comes for long.
std::vector<std::string> PullArguments(const std::string& source, const fs::path& out,
                                       const std::vector<std::string>& flags = {});

// A file of a model, for peers that follow a script.
ServedFile FileOf(const fs::path& model, const std::string& name);

// The processes that a process has started, from all of its threads.
std::vector<pid_t> ChildrenOf(pid_t id);

// A port on which nothing listens now.
std::uint16_t FreePort();

// Expects that both folders hold the same manifest, tokenizer files and shards.
void ExpectSameModel(const fs::path& a, const fs::path& b);

}  // namespace doppler
