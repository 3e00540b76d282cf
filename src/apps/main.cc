#include "apps/cli.h"

int main(int argc, char** argv) { return doppler::RunCommandLine(argc, argv); }
