#include <algorithm>
#include <string>
#include <vector>

#include "apps/bench_report.h"
#include "apps/commands.h"
#include "apps/runnable_model.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "engine/benchmark.h"
#include "io/file.h"
#include "io/machine.h"
#include "io/progress.h"

namespace doppler {
namespace {

// What all points have in common.
struct BenchHead {
  std::string model;
  std::string backend;
  std::string cpu_path;
  int threads = 0;
};

BenchPoint MeasurePoint(const BenchCommand& command, const RunnableModel& model,
                        EngineOptions options, int prefill, BenchHead& head) {
  options.shard_source = model.source();
  Engine engine(model.folder(), options);
  head = {.model = engine.artifact().manifest().model_id,
          .backend = std::string(engine.backend().name()),
          .cpu_path = std::string(engine.backend().path()),
          .threads = engine.threads()};
  BenchPoint point{.budget = engine.plan().budget,
                   .context = prefill,
                   .problem = {},
                   .measured = RunBenchmark(engine, {.prefill = prefill,
                                                     .decode = command.decode,
                                                     .repetitions = command.repetitions}),
                   .plan = engine.plan(),
                   .speculates = engine.speculates(),
                   .peak_resident = 0};
  point.peak_resident = PeakResidentBytes();
  return point;
}

EngineOptions OptionsOf(const BenchCommand& command, int prefill) {
  EngineOptions options = command.engine;
  options.with_tokenizer = false;
  if (options.context == 0) options.context = prefill + command.decode;
  if (options.context < prefill + command.decode) {
    throw UsageError("--context is smaller than --prefill and --decode together");
  }
  return options;
}

// Rising budgets, so that the peak of the process so far is that of the present budget.
std::vector<BenchPoint> Sweep(const BenchCommand& command, const RunnableModel& model,
                              BenchHead& head) {
  std::vector<Bytes> budgets = command.budgets;
  std::sort(budgets.begin(), budgets.end());
  std::vector<BenchPoint> points;
  ProgressMeter progress("bench", budgets.size() * command.contexts.size(),
                         {.unit = ProgressUnit::kItems});
  for (const Bytes budget : budgets) {
    for (const int context : command.contexts) {
      EngineOptions options = OptionsOf(command, context);
      options.host_memory = budget;
      try {
        points.push_back(MeasurePoint(command, model, options, context, head));
      } catch (const InterruptedError&) {
        throw;
      } catch (const Error& error) {
        points.push_back({.budget = budget,
                          .context = context,
                          .problem = error.what(),
                          .measured = {},
                          .plan = {},
                          .speculates = 0,
                          .peak_resident = 0});
      }
      progress.Update(points.size());
    }
  }
  progress.Finish();
  return points;
}

OrderedJson HeadToJson(const BenchHead& head, const BenchCommand& command,
                       const RunnableModel& model) {
  OrderedJson json = {{"model", head.model},
                      {"backend", head.backend},
                      {"cpu_path", head.cpu_path},
                      {"threads", head.threads},
                      {"repetitions", command.repetitions}};
  if (const auto swarm = model.StatsJson()) json["swarm"] = *swarm;
  return json;
}

void WriteFiles(const BenchCommand& command, const BenchHead& head,
                const std::vector<BenchPoint>& points) {
  if (!command.csv_file.empty()) WriteTextFile(command.csv_file, BenchTableCsv(points));
  if (!command.svg_file.empty()) WriteTextFile(command.svg_file, BenchChart(head.model, points));
}

void RunSweep(BenchCommand command, const RunnableModel& model) {
  if (command.contexts.empty()) command.contexts = {command.prefill};
  if (command.budgets.empty()) command.budgets = {BudgetOf(command.engine)};
  BenchHead head;
  const std::vector<BenchPoint> points = Sweep(command, model, head);
  WriteFiles(command, head, points);
  if (command.json) {
    OrderedJson json = HeadToJson(head, command, model);
    json["points"] = OrderedJson::array();
    for (const BenchPoint& point : points) json["points"].push_back(BenchPointToJson(point));
    PrintJson(json);
  } else {
    Print(BenchTableText(points));
  }
  const bool none = std::all_of(points.begin(), points.end(),
                                [](const BenchPoint& point) { return !point.problem.empty(); });
  if (none) Throw("no point could be measured");
}

}  // namespace

void RunBench(const BenchCommand& command) {
  const RunnableModel model(command.model, command.from_swarm);
  if (!command.budgets.empty() || !command.contexts.empty()) {
    RunSweep(command, model);
    return;
  }
  BenchHead head;
  const BenchPoint point =
      MeasurePoint(command, model, OptionsOf(command, command.prefill), command.prefill, head);
  WriteFiles(command, head, {point});
  if (command.json) {
    OrderedJson json = HeadToJson(head, command, model);
    json.update(BenchPointToJson(point));
    PrintJson(json);
    return;
  }
  Print(BenchPointText(point));
}

}  // namespace doppler
