// Runs of `doppler` in a budget.
#pragma once

#include <string>
#include <vector>

#include "e2e/program.h"

namespace doppler {

// The budget, such as "14M", that the refusal of a much too small one names: by `doppler` with
// these arguments, and by a run with any context.
std::string SmallestBudgetFor(std::vector<std::string> arguments);
std::string SmallestBudget(const fs::path& model);

struct BudgetRun {
  std::string text;
  nlohmann::json stats;
};
// A short greedy run that is expected to succeed with `--host-memory budget`.
BudgetRun RunInBudget(const fs::path& model, const std::string& budget,
                      const ProcessOptions& options = {});

}  // namespace doppler
