// Every kernel of the list against the reference backend: every type, path and odd shape.

#include "backend/kernel_list.h"

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

namespace doppler {
namespace {

void ExpectAgreement(const KernelCase& entry, const KernelShape& shape, ThreadPool& pool) {
  const KernelWork work = entry.spec.make(entry.type, shape);
  const auto reference = MakeReferenceBackend(pool);
  const auto backend = BackendOf(pool, entry.path);
  reference->Reserve(work.limits);
  backend->Reserve(work.limits);
  // The backend first, which then finds nothing where its results belong.
  work.run(*backend);
  const std::vector<float> found = work.results();
  work.run(*reference);
  const std::vector<float> expected = work.results();
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;
    const double rounding =
        work.size ? RoundingOfWeights(entry.path, entry.type) * work.size(i) : 0;
    ASSERT_NEAR(found[i], expected[i], work.bound(i, expected[i]) + rounding)
        << entry.Name() << ' ' << shape.rows << 'x' << shape.cols << ", " << shape.tokens
        << " tokens, result " << i;
  }
}

// All types of a kernel on a path: a process for each type would take longer than the work.
using KernelOnPath = std::tuple<std::string, CpuPath>;
class KernelListTest : public testing::TestWithParam<KernelOnPath> {};

TEST_P(KernelListTest, AgreesWithTheReferenceInOddShapes) {
  const auto& [name, path] = GetParam();
  ThreadPool pool(2);
  for (const KernelCase& entry : AllKernelCases()) {
    if (entry.spec.name != name || entry.path != path) continue;
    for (const KernelShape& shape : entry.spec.odd(entry.type)) {
      ExpectAgreement(entry, shape, pool);
      if (HasFatalFailure()) return;
    }
  }
}

std::vector<std::string> KernelNames() {
  std::vector<std::string> names;
  for (const KernelSpec& spec : AllKernels()) names.push_back(spec.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(List, KernelListTest,
                         testing::Combine(testing::ValuesIn(KernelNames()),
                                          testing::ValuesIn(RunnableCpuPaths())),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param);
                           name += "_" + std::string(CpuPathName(std::get<1>(test.param)));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(KernelList, NamesEveryPathAndEveryTypeOfWeights) {
  std::set<std::string> names;
  for (const KernelCase& entry : AllKernelCases()) {
    EXPECT_TRUE(names.insert(entry.Name()).second) << entry.Name();
    EXPECT_FALSE(entry.spec.odd(entry.type).empty() || entry.spec.timed.empty()) << entry.Name();
  }
  for (const CpuPath path : RunnableCpuPaths()) {
    for (const DTypeTraits& traits : kDTypes) {
      const std::string name =
          "MatMul/" + std::string(CpuPathName(path)) + "/" + std::string(traits.name);
      EXPECT_TRUE(names.contains(name)) << name;
    }
  }
}

}  // namespace
}  // namespace doppler
