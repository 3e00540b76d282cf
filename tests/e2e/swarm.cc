#include "e2e/swarm.h"

#include <csignal>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "swarm/artifact_torrent.h"

namespace doppler {

BackgroundProgram::BackgroundProgram(std::vector<std::string> command) {
  options_.signal = SIGINT;
  options_.signal_when = [this](const RunningProcess& process) {
    const std::lock_guard lock(mutex_);
    id_ = process.id;
    output_ = process.output;
    changed_.notify_all();
    return end_;
  };
  thread_ = std::thread([this, command = std::move(command)] {
    ProcessResult result = RunProcess(command, options_);
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
    over_ = true;
    changed_.notify_all();
  });
}

BackgroundProgram::~BackgroundProgram() {
  if (thread_.joinable()) End(SIGKILL);
}

std::string BackgroundProgram::FirstLine() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return over_ || output_.find('\n') != std::string::npos; });
  EXPECT_FALSE(over_) << result_.errors;
  return output_.substr(0, output_.find('\n'));
}

pid_t BackgroundProgram::id() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return over_ || id_ != 0; });
  return id_;
}

ProcessResult BackgroundProgram::End(int signal) {
  {
    const std::lock_guard lock(mutex_);
    end_ = signal == SIGINT;
    if (!end_ && !over_ && id_ != 0) ::kill(id_, signal);
    end_ = true;
  }
  thread_.join();
  return result_;
}

namespace {

std::vector<std::string> ShareCommandLine(const fs::path& model,
                                          const std::vector<std::string>& flags) {
  std::vector<std::string> command = {ProgramPath(), "share", model, "--private", "--json"};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

}  // namespace

Seed::Seed(const fs::path& model, const std::vector<std::string>& flags)
    : program_(ShareCommandLine(model, flags)) {
  const nlohmann::json start = nlohmann::json::parse(program_.FirstLine(), nullptr, false);
  if (!start.is_object()) return;
  link_ = start["link"];
  port_ = start["port"];
}

std::vector<std::string> PullArguments(const std::string& source, const fs::path& out,
                                       const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {"pull",  source, "--private", "--json",
                                        "--out", out,    "--timeout", "60"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return arguments;
}

ServedFile FileOf(const fs::path& model, const std::string& name) {
  const Torrent torrent = DescribeArtifact(model, {});
  ServedFile file = {.pieces_of_torrent = PieceCount(torrent),
                     .first_piece = 0,
                     .piece_bytes = kPieceBytes,
                     .bytes = ReadTextFile(model / name)};
  for (std::size_t i = 0; i < torrent.IndexOf(name); ++i) {
    file.first_piece += static_cast<std::uint32_t>(PieceCount(torrent.files[i]));
  }
  return file;
}

std::vector<pid_t> ChildrenOf(pid_t id) {
  std::vector<pid_t> children;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(id) + "/task")) {
    std::ifstream file(task.path() / "children");
    for (pid_t child = 0; file >> child;) children.push_back(child);
  }
  return children;
}

std::uint16_t FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(socket, any, size), 0);
  EXPECT_EQ(::getsockname(socket, any, &size), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

void ExpectSameModel(const fs::path& a, const fs::path& b) {
  for (const auto& entry : fs::recursive_directory_iterator(a)) {
    const fs::path name = fs::relative(entry.path(), a);
    const bool cache = name == "swarm.torrent" || name == "usage.cache" || name == "checked.cache";
    if (entry.is_directory() || cache) continue;
    ASSERT_TRUE(fs::exists(b / name)) << name;
    EXPECT_EQ(ReadTextFile(entry.path()), ReadTextFile(b / name)) << name;
  }
}

}  // namespace doppler
