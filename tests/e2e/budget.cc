#include "e2e/budget.h"

#include <gtest/gtest.h>

namespace doppler {

std::string SmallestBudgetFor(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--host-memory", "1M"});
  const ProcessResult result = Doppler(arguments);
  ExpectRefused(result, kFailed, {"1.00 MiB", "the smallest that would do is --host-memory "});
  EXPECT_EQ(result.output, "");
  const std::string flag = "--host-memory ";
  const std::size_t place = result.errors.find(flag) + flag.size();
  return result.errors.substr(place, result.errors.find('\n') - place);
}

std::string SmallestBudget(const fs::path& model) {
  return SmallestBudgetFor({"run", model, "-p", "Once"});
}

BudgetRun RunInBudget(const fs::path& model, const std::string& budget,
                      const ProcessOptions& options) {
  const TempFolder folder;
  const fs::path file = folder.path() / "stats.json";
  BudgetRun run;
  run.text = Output({"run", model, "-p", "Once upon a time", "-n", "24", "--temperature", "0",
                     "--host-memory", budget, "--stats", file},
                    options);
  if (fs::exists(file)) run.stats = ReadJson(file);
  return run;
}

}  // namespace doppler
