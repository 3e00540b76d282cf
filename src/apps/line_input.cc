#include "apps/line_input.h"

#include <array>
#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "text/utf8.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

class PipeInput : public LineInput {
 public:
  Line Next(bool /*more*/) override {
    for (;;) {
      const std::size_t end = waiting_.find('\n', searched_);
      if (end != std::string::npos) return Take(end, end + 1);
      searched_ = waiting_.size();
      if (!Read()) break;
    }
    if (waiting_.empty()) return {.status = LineStatus::kEnd, .text = {}};
    return Take(waiting_.size(), waiting_.size());
  }

 private:
  Line Take(std::size_t end, std::size_t next) {
    Line line{.status = LineStatus::kLine, .text = waiting_.substr(0, end)};
    waiting_.erase(0, next);
    searched_ = 0;
    return line;
  }

  // False at the end.
  bool Read() {
    if (!WaitForInput(STDIN_FILENO)) throw InterruptedError();
    std::array<char, 65536> buffer;
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0) Throw("cannot read standard input: {}", std::strerror(errno));
    waiting_.append(buffer.data(), static_cast<std::size_t>(got));
    if (waiting_.size() > kLongestLine) {
      Throw("a line of standard input has more than {}", FormatSize(kLongestLine));
    }
    return got > 0;
  }

  std::string waiting_;
  std::size_t searched_ = 0;  // of waiting_, without a newline
};

class TerminalInput : public LineInput {
 public:
  explicit TerminalInput(fs::path history_file)
      : history_file_(std::move(history_file)),
        history_(::history_init()),
        edit_(::el_init("doppler", stdin, stdout, stderr)) {
    if (history_ == nullptr || edit_ == nullptr) Throw("the terminal cannot be set up for editing");
    constexpr int kRemembered = 1000;
    HistEvent event;
    ::history(history_, &event, H_SETSIZE, kRemembered);
    ::history(history_, &event, H_SETUNIQUE, 1);
    ::el_set(edit_, EL_CLIENTDATA, this);
    ::el_set(edit_, EL_EDITOR, "emacs");
    ::el_set(edit_, EL_PROMPT, &TerminalInput::Prompt);
    ::el_set(edit_, EL_GETCFN, &TerminalInput::ReadCharacter);
    ::el_set(edit_, EL_HIST, ::history, history_);
    LoadHistory();
  }
  ~TerminalInput() override {
    ::el_end(edit_);
    ::history_end(history_);
  }
  TerminalInput(const TerminalInput&) = delete;
  TerminalInput& operator=(const TerminalInput&) = delete;

  Line Next(bool more) override {
    more_ = more;
    int count = 0;
    const char* const typed = ::el_gets(edit_, &count);
    if (typed == nullptr && Interrupted()) {
      ::el_reset(edit_);
      return {.status = empty_ ? LineStatus::kCancelledEmpty : LineStatus::kCancelled, .text = {}};
    }
    if (typed == nullptr || count <= 0) return {.status = LineStatus::kEnd, .text = {}};
    Line line{.status = LineStatus::kLine,
              .text = std::string(typed, static_cast<std::size_t>(count))};
    if (line.text.ends_with('\n')) line.text.pop_back();
    if (!line.text.empty()) Remember(line.text);
    return line;
  }

 private:
  static TerminalInput* Of(EditLine* edit) {
    void* data = nullptr;
    ::el_get(edit, EL_CLIENTDATA, &data);
    return static_cast<TerminalInput*>(data);
  }

  static char* Prompt(EditLine* edit) {
    // The library wants a pointer that it could write through, but does not.
    static std::array<char, 3> first = {'>', ' ', '\0'};
    static std::array<char, 3> further = {'.', ' ', '\0'};
    return Of(edit)->more_ ? further.data() : first.data();
  }

  // The library's own reading would go on waiting after Ctrl-C.
  static int ReadCharacter(EditLine* edit, wchar_t* character) {
    std::string bytes;
    for (;;) {
      if (!WaitForInput(STDIN_FILENO)) {
        const LineInfo* const info = ::el_line(edit);
        Of(edit)->empty_ = info->lastchar == info->buffer;
        errno = EINTR;
        return -1;
      }
      char byte = 0;
      if (::read(STDIN_FILENO, &byte, 1) <= 0) return 0;
      bytes += byte;
      const Utf8Step step = DecodeUtf8(bytes, 0);
      if (step.status == Utf8Status::kIncomplete) continue;
      *character = static_cast<wchar_t>(step.code_point);
      return 1;
    }
  }

  void LoadHistory() {
    if (history_file_.empty()) return;
    std::error_code error;
    fs::create_directories(history_file_.parent_path(), error);
    const int file = ::open(history_file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kOwnerOnly);
    if (file < 0) return Warn(std::strerror(errno));
    const bool narrowed = ::fchmod(file, kOwnerOnly) == 0;
    ::close(file);
    if (!narrowed) return Warn(std::strerror(errno));
    // A file that is no history of the library's is replaced when the first line is remembered.
    HistEvent event;
    ::history(history_, &event, H_LOAD, history_file_.c_str());
  }

  void Remember(const std::string& line) {
    HistEvent event;
    ::history(history_, &event, H_ENTER, line.c_str());
    if (history_file_.empty()) return;
    if (::history(history_, &event, H_SAVE, history_file_.c_str()) < 0) {
      Warn(std::strerror(errno));
    }
  }

  void Warn(const char* problem) {
    fmt::print(stderr, "doppler: the history '{}' is not kept: {}\n", history_file_.string(),
               problem);
    history_file_.clear();
  }

  static constexpr mode_t kOwnerOnly = S_IRUSR | S_IWUSR;

  fs::path history_file_;
  History* history_;
  EditLine* edit_;
  bool more_ = false;
  bool empty_ = true;
};

}  // namespace

bool WaitForInput(int descriptor) {
  constexpr int kLookAtFlagMilliseconds = 200;
  for (;;) {
    if (Interrupted()) return false;
    pollfd input{descriptor, POLLIN, 0};
    if (::poll(&input, 1, kLookAtFlagMilliseconds) > 0) return true;
  }
}

std::unique_ptr<LineInput> MakePipeInput() { return std::make_unique<PipeInput>(); }

std::unique_ptr<LineInput> MakeTerminalInput(const fs::path& history_file) {
  // The library turns what is typed into bytes by the locale; terminals speak UTF-8.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  return std::make_unique<TerminalInput>(history_file);
}

fs::path ChatHistoryFile() {
  const auto folder = [](const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? fs::path() : fs::path(value);
  };
  const fs::path state = folder("XDG_STATE_HOME");
  const fs::path home = folder("HOME");
  if (state.is_absolute()) return state / "doppler" / "chat_history";
  return home.empty() ? fs::path() : home / ".local" / "state" / "doppler" / "chat_history";
}

}  // namespace doppler
