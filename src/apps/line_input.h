// Lines that a person types or a pipe brings.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace doppler {

inline constexpr Bytes kLongestLine = 64 * kMiB;

// Waits until `descriptor` has something to read; false if Ctrl-C came first.
bool WaitForInput(int descriptor);

enum class LineStatus {
  kLine,
  kEnd,            // of the input: Ctrl-D
  kCancelled,      // Ctrl-C in the middle of a line
  kCancelledEmpty  // Ctrl-C with nothing typed
};

struct Line {
  LineStatus status = LineStatus::kEnd;
  std::string text;  // without the newline
};

// One reader at a time.
class LineInput {
 public:
  virtual ~LineInput() = default;
  // `more`: the line goes on with one before it. Throws Error for a line that is too long.
  virtual Line Next(bool more) = 0;
};

// Standard input as it comes, without a prompt. Ctrl-C ends it.
std::unique_ptr<LineInput> MakePipeInput();

// A terminal, with line editing and a history that is kept in `history_file`, readable by its owner
// alone; without a history if the path is empty. Where the file cannot be written a warning says
// so, once.
std::unique_ptr<LineInput> MakeTerminalInput(const std::filesystem::path& history_file);

// Where the history of conversations is kept: $XDG_STATE_HOME/doppler/chat_history, or under
// ~/.local/state; empty if neither variable is set.
std::filesystem::path ChatHistoryFile();

}  // namespace doppler
