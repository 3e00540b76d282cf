// A team for tests.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "e2e/swarm.h"
#include "io/file.h"
#include "swarm/certificate.h"

namespace doppler {

// Who runs the team, and a member.
class Crew {
 public:
  Crew() {
    ExpectMade(Doppler({"team", "new", folder()}));
    ExpectMade(Doppler({"team", "invite", folder(), "alice"}));
  }
  fs::path folder() const { return temp_.path() / "crew"; }
  fs::path alice() const { return folder() / "members/alice"; }
  std::vector<std::string> Flags(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> flags = {"--team", alice()};
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  }
  std::vector<std::string> FlagsOfSeed() const { return {"--team", folder()}; }
  KeyPair authority() const {
    return {.certificate = ReadTextFile(folder() / "ca.pem"),
            .private_key = ReadTextFile(folder() / "ca.key.pem")};
  }

 private:
  static void ExpectMade(const ProcessResult& result) {
    EXPECT_EQ(result.status, kDone) << result.errors;
  }

  const TempFolder temp_;
};

}  // namespace doppler
