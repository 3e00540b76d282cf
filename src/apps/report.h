// What commands print in more than one place.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/plan.h"

namespace doppler {

using OrderedJson = nlohmann::ordered_json;

// The plan's lines: bytes per purpose, as docs/command-line.md names them.
OrderedJson PlanToJson(const MemoryPlan& plan);
std::string PlanToText(const MemoryPlan& plan);

// The part of expert uses that were hits; nothing if there were none.
std::optional<double> HitRate(const ExpertCacheStats& experts);

// The number or null.
OrderedJson OptionalToJson(std::optional<double> value);

// Writes to standard output at once. Throws Error if that cannot be done.
void Print(std::string_view text);

// Counters of prefill or decode; those of guessed experts if any were to be.
OrderedJson PhaseToJson(const PhaseStats& phase, bool speculates);

// Of a phase with guessed experts.
OrderedJson SpeculationToJson(const SpeculationStats& guesses, const ExpertCacheStats& experts);
std::string SpeculationLine(const SpeculationStats& guesses, const ExpertCacheStats& experts);

// Counters of a run, as docs/statistics.md names them.
OrderedJson StatsToJson(const Engine& engine, const GenerateResult& result);

// The lines at the end of a run.
std::string SummaryText(const Engine& engine, const GenerateResult& result);

void PrintJson(const OrderedJson& json);

}  // namespace doppler
