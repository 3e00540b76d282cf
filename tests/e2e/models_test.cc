// The table of docs/models.md, worked out by hand from public configurations, against what
// `doppler plan --config` prints.

#include <array>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "e2e/program.h"
#include "io/file.h"

namespace doppler {
namespace {

constexpr std::array kFields = {
    "parameters",          "active_parameters", "total_bytes",           "active_bytes",
    "expert_record_bytes", "token_read_bytes",  "kv_bytes_per_1k_tokens"};

struct TableRow {
  std::string model;
  std::string quant;
  std::vector<std::uint64_t> numbers;  // of kFields, then the smallest budget in MiB
};

std::uint64_t ParseNumber(std::string text) {
  std::erase(text, ',');
  return std::stoull(text);
}

// The rows that begin with a model's name and a format.
std::vector<TableRow> TableRows() {
  std::vector<TableRow> rows;
  std::istringstream lines(ReadTextFile(fs::path(DOPPLER_SOURCE_DIR) / "docs" / "models.md"));
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> cells;
    std::istringstream parts(line);
    for (std::string cell; std::getline(parts, cell, '|');) {
      const std::size_t begin = cell.find_first_not_of(' ');
      if (begin == std::string::npos) continue;
      cells.push_back(cell.substr(begin, cell.find_last_not_of(' ') + 1 - begin));
    }
    if (cells.size() != kFields.size() + 3) continue;
    if (!fs::exists(fs::path(DOPPLER_SOURCE_DIR) / "tests/data/configs" / cells[0])) continue;
    TableRow row{.model = cells[0], .quant = cells[1], .numbers = {}};
    for (std::size_t i = 2; i < cells.size(); ++i) row.numbers.push_back(ParseNumber(cells[i]));
    rows.push_back(row);
  }
  return rows;
}

TEST(Models, PlanPrintsTheNumbersOfTheTable) {
  const std::vector<TableRow> rows = TableRows();
  EXPECT_EQ(rows.size(), 37u);
  for (const TableRow& row : rows) {
    const fs::path config = fs::path(DOPPLER_SOURCE_DIR) / "tests/data/configs" / row.model;
    std::vector<std::string> arguments = {"plan",      "--config",      config / "config.json",
                                          "--json",    "--host-memory", "4000G",
                                          "--context", "4096",          "--threads",
                                          "2"};
    if (row.quant != "stored") arguments.insert(arguments.end(), {"--quant", row.quant});
    const nlohmann::json report = JsonOutput(arguments);
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      EXPECT_EQ(report.at(kFields[i]), row.numbers[i])
          << row.model << " " << row.quant << " " << kFields[i];
    }
    // What the program itself takes differs between builds: sanitizers add some 70 MiB.
    const double smallest = report.at("smallest_budget_bytes").get<double>() / (1 << 20);
    EXPECT_NEAR(smallest, static_cast<double>(row.numbers.back()), 160)
        << row.model << " " << row.quant;
  }
}

}  // namespace
}  // namespace doppler
