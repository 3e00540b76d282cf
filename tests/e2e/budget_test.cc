// What `--host-memory` allows: refusals name a budget that then works.

#include "e2e/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(BudgetTest, TooSmallABudgetIsRefusedAndTheOneThatIsNamedWorks) {
  for (const char* name : {"llama3", "mixtral"}) {
    const ConvertedModel model(Golden(name));
    const std::string text = RunInBudget(model.path(), "1G").text;
    EXPECT_EQ(RunInBudget(model.path(), SmallestBudget(model.path())).text, text) << name;
  }
}

TEST(BudgetTest, MoreContextNeedsALargerBudget) {
  const std::string smallest = SmallestBudget(DemoModel());
  const ProcessResult result = Doppler({"run", DemoModel(), "-p", "Once", "-n", "1",
                                        "--host-memory", smallest, "--context", "1024"});
  ExpectRefused(result, kFailed, {"cannot hold this model", "--host-memory "});
}

}  // namespace
}  // namespace doppler
