// The `doppler` program as a user runs it, what is expected of every run, and models for it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/model_case.h"
#include "support/process.h"

namespace doppler {

namespace fs = std::filesystem;

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

// The path of the program that was built with this test.
std::string ProgramPath();

// Runs `doppler` with these arguments.
ProcessResult Doppler(std::vector<std::string> arguments, const ProcessOptions& options = {});

// Expects that the program did its work; `Output` gives what it then printed.
void ExpectDone(const ProcessResult& result);
std::string Output(const std::vector<std::string>& arguments, const ProcessOptions& options = {});
nlohmann::json JsonOutput(const std::vector<std::string>& arguments);

// Whether the program would end its work cleanly on Ctrl-C by now.
bool CatchesInterrupt(const RunningProcess& process);

// Expects that the program refused with this status and one line on standard error, which begins
// with its name and holds every one of `parts`.
void ExpectRefused(const ProcessResult& result, int status, const std::vector<std::string>& parts);

// A checkpoint of tests/data/golden.
fs::path Golden(std::string_view name);
// The tiny mixtral of tests/data/golden, converted once per process: 3 layers of 8 experts, in 24
// expert shards and the dense shard 0. Not to be changed.
const fs::path& MoeModel();

nlohmann::json ReadJson(const fs::path& path);
void Overwrite(const fs::path& path, std::string_view text);
// The entries of a folder, hidden ones too, in order.
std::vector<std::string> Entries(const fs::path& folder);

}  // namespace doppler
