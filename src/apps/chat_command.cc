#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "apps/line_input.h"
#include "apps/report.h"
#include "apps/runnable_model.h"
#include "base/interrupt.h"
#include "engine/chat.h"

namespace doppler {
namespace {

constexpr std::string_view kHelp =
    "/help         these lines\n"
    "/reset        forget all that was said; the system message stays\n"
    "/system TEXT  another system message from the next answer on; without TEXT none\n"
    "/stats        tokens, speed and memory of the last answer\n"
    "/quit         leave, as does Ctrl-D\n"
    "A \\ at the end of a line continues it on the next. A line that begins with // is said with\n"
    "one / less. Ctrl-C stops an answer; at an empty prompt, twice, it leaves.\n";

// Shows an answer as it comes; thinking is dim.
class AnswerPrinter {
 public:
  AnswerPrinter(bool show_thinking, bool show_answer)
      : show_thinking_(show_thinking), show_answer_(show_answer) {}

  void Show(AnswerPart part, std::string_view text) {
    const bool thinking = part == AnswerPart::kThinking;
    if (thinking ? !show_thinking_ : !show_answer_) return;
    if (thinking != dim_) Print(thinking ? kDim : std::string(kPlain) + "\n\n");
    dim_ = thinking;
    Print(text);
  }

  // Whatever came in between: what follows is not dim.
  void Finish() {
    if (dim_) Print(kPlain);
    dim_ = false;
  }

 private:
  static constexpr std::string_view kDim = "\x1b[2m";
  static constexpr std::string_view kPlain = "\x1b[0m";

  const bool show_thinking_;
  const bool show_answer_;
  bool dim_ = false;
};

class Conversation {
 public:
  Conversation(Engine& engine, const RunnableModel& model, const ChatCommand& command)
      : engine_(engine),
        model_(model),
        command_(command),
        interactive_(!command.json && ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0),
        chat_(engine, LoadChatFiles(engine.artifact().folder(), command.template_file),
              command.chat),
        input_(interactive_ ? MakeTerminalInput(ChatHistoryFile()) : MakePipeInput()) {}

  void Run() {
    if (interactive_) {
      Note(fmt::format("{}, context of {} tokens; /help lists the commands",
                       engine_.artifact().manifest().model_id, chat_.session().context()));
    }
    while (const std::optional<std::string> text = NextText()) {
      if (!Handle(*text)) return;
    }
  }

 private:
  // For the user, not part of what the program makes.
  static void Note(std::string_view text) { fmt::print(stderr, "{}\n", text); }

  // The next line with those that continue it; nothing when it is time to leave.
  std::optional<std::string> NextText() {
    std::string text;
    bool warned = false;
    for (bool more = false;;) {
      const Line line = input_->Next(more);
      switch (line.status) {
        case LineStatus::kEnd:
          if (interactive_) Print("\n");
          return more && !interactive_ ? std::optional(text) : std::nullopt;
        case LineStatus::kCancelled:
        case LineStatus::kCancelledEmpty:
          if (!ForgetInterrupt()) throw InterruptedError();
          Print("\n");
          if (line.status == LineStatus::kCancelledEmpty && !more) {
            if (warned) return std::nullopt;
            Note("Ctrl-C once more, or Ctrl-D, leaves");
            warned = true;
          }
          text.clear();
          more = false;
          continue;
        case LineStatus::kLine:
          text += line.text;
          more = text.ends_with('\\');
          if (!more) return text;
          text.back() = '\n';
      }
    }
  }

  // False when the user wants to leave.
  bool Handle(const std::string& text) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) return true;
    if (text.starts_with("//")) {
      Say(text.substr(1));
    } else if (text.starts_with('/')) {
      return Command(text);
    } else {
      Say(text);
    }
    return true;
  }

  bool Command(const std::string& text) {
    const std::size_t space = text.find(' ');
    const std::string name = text.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : text.substr(space + 1);
    if (name == "/quit") return false;
    if (name == "/help") {
      fmt::print(stderr, "{}", kHelp);
    } else if (name == "/reset") {
      chat_.Reset();
      Note("all that was said is forgotten");
    } else if (name == "/system") {
      chat_.SetSystem(rest);
      Note(rest.empty() ? "there is no system message now" : "the system message is another now");
    } else if (name == "/stats") {
      ShowStats();
    } else {
      Note(
          fmt::format("there is no command '{}'; /help lists them, // begins a text with /", name));
    }
    return true;
  }

  void ShowStats() const {
    Note(fmt::format("context: {} of {} tokens used", chat_.session().length(),
                     chat_.session().context()));
    if (!last_) return;
    Note(fmt::format("last prompt: {} tokens were there already, {} were new", last_->kept_tokens,
                     last_->result.prefill.tokens));
    fmt::print(stderr, "{}{}", SummaryText(engine_, last_->result), model_.SummaryLine());
  }

  void Say(const std::string& text) {
    AnswerPrinter printer(interactive_ && !command_.hide_thinking, !command_.json);
    try {
      last_ = chat_.Say(
          text, [&printer](AnswerPart part, std::string_view more) { printer.Show(part, more); });
      printer.Finish();
    } catch (const InterruptedError&) {
      if (!interactive_ || !ForgetInterrupt()) throw;
      return Note("\nstopped before the answer began; it was not said");
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      if (!interactive_) throw;
      printer.Finish();
      // As when Ctrl-C ends the wait for an expert that does not come.
      ForgetInterrupt();
      return Note(fmt::format("doppler: {}", error.what()));
    }
    command_.json ? PrintTurn() : Print("\n");
    AfterAnswer();
  }

  void PrintTurn() const {
    const GenerateResult& result = last_->result;
    Print(OrderedJson({{"answer", last_->answer},
                       {"thinking", last_->thinking},
                       {"stop_reason", StopReasonName(result.stop)},
                       {"kept_tokens", last_->kept_tokens},
                       {"generated_tokens", result.tokens.size()},
                       {"context_tokens", chat_.session().length()},
                       {"context_limit", chat_.session().context()},
                       {"prefill", PhaseToJson(result.prefill, engine_.speculates() > 0)},
                       {"decode", PhaseToJson(result.decode, engine_.speculates() > 0)}})
              .dump() +
          "\n");
  }

  void AfterAnswer() const {
    const StopReason stop = last_->result.stop;
    if (stop == StopReason::kContextFull) {
      Note("the context is full: /reset begins a new conversation, --context makes more room");
    }
    if (stop == StopReason::kInterrupted && (!interactive_ || !ForgetInterrupt())) {
      throw InterruptedError();
    }
  }

  Engine& engine_;
  const RunnableModel& model_;
  const ChatCommand& command_;
  const bool interactive_;
  Chat chat_;
  std::unique_ptr<LineInput> input_;
  std::optional<ChatTurn> last_;
};

}  // namespace

void RunChat(const ChatCommand& command) {
  ValidateSamplerOptions(command.chat.generate.sampler);
  const RunnableModel model(command.model, command.from_swarm);
  EngineOptions options = command.engine;
  options.shard_source = model.source();
  Engine engine(model.folder(), options);
  Conversation(engine, model, command).Run();
}

}  // namespace doppler
