#include "e2e/program.h"

#include <algorithm>
#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppler {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

namespace {

// What no run may print, whatever it was asked to do.
void ExpectNoCrash(const ProcessResult& result) {
  EXPECT_FALSE(result.timed_out) << result.errors;
  EXPECT_EQ(result.signal, 0) << result.errors;
  EXPECT_THAT(result.errors, Not(HasSubstr("Sanitizer")));
  EXPECT_THAT(result.errors, Not(HasSubstr("runtime error")));
  EXPECT_THAT(result.errors, Not(HasSubstr("internal error")));
}

}  // namespace

std::string ProgramPath() { return DOPPLER_PROGRAM; }

ProcessResult Doppler(std::vector<std::string> arguments, const ProcessOptions& options) {
  arguments.insert(arguments.begin(), ProgramPath());
  return RunProcess(arguments, options);
}

void ExpectDone(const ProcessResult& result) {
  ExpectNoCrash(result);
  EXPECT_EQ(result.status, kDone) << result.errors;
  EXPECT_THAT(result.errors, Not(HasSubstr("doppler:")));
}

std::string Output(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  const ProcessResult result = Doppler(arguments, options);
  ExpectDone(result);
  return result.output;
}

nlohmann::json JsonOutput(const std::vector<std::string>& arguments) {
  return nlohmann::json::parse(Output(arguments));
}

bool CatchesInterrupt(const RunningProcess& process) {
  std::ifstream status("/proc/" + std::to_string(process.id) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigCgt:")) continue;
    return (std::stoull(line.substr(7), nullptr, 16) >> (SIGINT - 1) & 1) != 0;
  }
  return false;
}

void ExpectRefused(const ProcessResult& result, int status, const std::vector<std::string>& parts) {
  ExpectNoCrash(result);
  EXPECT_EQ(result.status, status) << result.errors;
  EXPECT_THAT(result.errors, StartsWith("doppler: "));
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
  for (const std::string& part : parts) EXPECT_THAT(result.errors, HasSubstr(part));
}

fs::path Golden(std::string_view name) { return DataFolder() / "golden" / name; }

const fs::path& MoeModel() {
  static const ConvertedModel model(Golden("mixtral"));
  return model.path();
}

nlohmann::json ReadJson(const fs::path& path) { return nlohmann::json::parse(ReadTextFile(path)); }

void Overwrite(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  ASSERT_TRUE(file.good()) << path;
}

std::vector<std::string> Entries(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace doppler
