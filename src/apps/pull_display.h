// What a pull shows while it goes on.
#pragma once

#include <optional>
#include <string>

#include "apps/swarm_flags.h"
#include "io/progress.h"
#include "swarm/pull.h"

namespace doppler {

class PullDisplay {
 public:
  // For PullModel; used in its thread.
  PullEvents Events();
  void Finish();

 private:
  void Show(const PullProgress& progress);
  void Notice(const std::string& text);

  StatusLine line_;
  std::string stage_;
  std::optional<ProgressMeter> meter_;
};

}  // namespace doppler
