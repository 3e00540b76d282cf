// What `share` and `pull` make of their flags, and show alike.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "apps/commands.h"
#include "swarm/reach.h"

namespace doppler {

// Looks up the names of peers. Throws Error, or UsageError for a wrong address.
SwarmReach ReachOf(const SwarmFlags& flags);

// A line on a terminal that is written over and over; nothing where standard error is none.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void Show(std::string_view text);
  // Removes the line, so that a message can stand in its place.
  void Clear();

 private:
  bool enabled_;
  bool drawn_ = false;
};

}  // namespace doppler
