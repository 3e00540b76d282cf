// Functions that a template can call: Jinja's range, dict and namespace, and the two that
// transformers adds, raise_exception and strftime_now.
#include <array>
#include <ctime>

#include "base/error.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

Value Range(Runtime& runtime, const Value& /*input*/, const Arguments& arguments) {
  const Items bound = arguments.Bind("range", {"start", "stop", "step"});
  const bool only_stop = bound[1].is_undefined();
  const std::int64_t start = only_stop ? 0 : RequireInt(bound[0], "range");
  const std::int64_t stop = RequireInt(bound[only_stop ? 0 : 1], "range");
  const std::int64_t step = IntOr(bound[2], 1, "range");
  if (step == 0) Throw("range: the step is 0");
  // In floating point, where nothing overflows; far more than is allowed is as good as exact.
  const double count =
      (static_cast<double>(stop) - static_cast<double>(start)) / static_cast<double>(step);
  constexpr double kMost = 1e6;
  if (count > kMost) Throw("range: more than {} numbers", static_cast<int>(kMost));
  Items items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    items.push_back(Value::Int(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return runtime.List(std::move(items));
}

Dict FieldsFrom(Runtime& runtime, std::string_view function, const Arguments& arguments) {
  if (arguments.positional.size() > 1) Throw("'{}' takes one argument without a name", function);
  Dict fields;
  for (const Value& source : arguments.positional) {
    if (source.is_dict()) {
      fields = source.dict();
      continue;
    }
    for (const Value& pair : Elements(runtime, source)) {
      if (!pair.is_list() || pair.items().size() != 2) Throw("'{}' needs pairs", function);
      fields.Set(pair.items()[0], pair.items()[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) fields.Set(Value::String(name), value);
  return fields;
}

Value MakeDict(Runtime& runtime, const Value& /*input*/, const Arguments& arguments) {
  return runtime.Mapping(FieldsFrom(runtime, "dict", arguments));
}

Value MakeNamespace(Runtime& runtime, const Value& /*input*/, const Arguments& arguments) {
  // Counts the memory of the fields.
  const Value fields = MakeDict(runtime, {}, arguments);
  auto made = std::make_shared<Namespace>();
  made->fields = fields.dict();
  runtime.namespaces.push_back(made);
  return Value::Of(std::move(made));
}

Value RaiseException(Runtime& /*runtime*/, const Value& /*input*/, const Arguments& arguments) {
  const Value message = arguments.Bind("raise_exception", {"message"})[0];
  Throw("the chat template refuses this conversation: {}", ToText(message));
}

Value StrftimeNow(Runtime& runtime, const Value& /*input*/, const Arguments& arguments) {
  const std::string format =
      RequireText(arguments.Bind("strftime_now", {"format"})[0], "strftime_now");
  constexpr std::size_t kLongest = 1024;
  if (format.size() > kLongest) Throw("strftime_now: the format is too long");
  if (format.empty()) return runtime.Text("");
  const std::time_t seconds = std::chrono::system_clock::to_time_t(runtime.now);
  std::tm parts{};
  if (::localtime_r(&seconds, &parts) == nullptr) Throw("strftime_now: there is no such time");
  std::string text(64 * kLongest, '\0');
  // Nothing written also means a format that stands for nothing.
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &parts));
  return runtime.Text(std::move(text));
}

constexpr std::array<NamedFunction, 5> kGlobals = {{{"range", Range},
                                                    {"dict", MakeDict},
                                                    {"namespace", MakeNamespace},
                                                    {"raise_exception", RaiseException},
                                                    {"strftime_now", StrftimeNow}}};

}  // namespace

Function FindGlobal(std::string_view name) { return FindIn(kGlobals, name); }

}  // namespace doppler::jinja
