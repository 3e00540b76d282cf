// convert_demo FOLDER: converts the demo model for the tests, once for all of their processes.
// What was in the folder is replaced.
#include <cstdio>
#include <filesystem>

#include "support/model_case.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("convert_demo FOLDER\n", stderr);
    return 2;
  }
  try {
    std::filesystem::remove_all(argv[1]);
    doppler::ConvertDemoModel(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "convert_demo: %s\n", error.what());
    return 1;
  }
  return 0;
}
