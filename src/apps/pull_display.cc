#include "apps/pull_display.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace doppler {

PullEvents PullDisplay::Events() {
  return {.progress = [this](const PullProgress& progress) { Show(progress); },
          .notice = [this](const std::string& text) { Notice(text); }};
}

void PullDisplay::Show(const PullProgress& progress) {
  if (progress.total == 0) {
    if (progress.stage != "checking") {
      line_.Show(fmt::format("{}   {} peers", progress.stage, progress.status.peers));
    }
    return;
  }
  if (!meter_ || stage_ != progress.stage) {
    line_.Clear();
    meter_.reset();
    meter_.emplace(std::string(progress.stage), progress.total);
    stage_ = progress.stage;
  }
  meter_->Update(progress.done);
}

void PullDisplay::Notice(const std::string& text) {
  line_.Clear();
  meter_.reset();
  spdlog::warn("{}", text);
}

// Without an average: what was there at the start did not come.
void PullDisplay::Finish() {
  meter_.reset();
  line_.Clear();
}

}  // namespace doppler
