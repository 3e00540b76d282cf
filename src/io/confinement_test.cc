#include "io/confinement.h"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// In a process of its own, since there is no way back. Gives its exit status.
template <typename Body>
int StatusInside(const ConfinementOptions& options, const Body& body) {
  const pid_t id = ::fork();
  if (id == 0) ::_exit(body(ConfineProcess(options)));
  int status = 0;
  EXPECT_EQ(::waitpid(id, &status, 0), id);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool CanRead(const fs::path& path) { return std::ifstream(path).good(); }
bool CanWrite(const fs::path& path) { return std::ofstream(path, std::ios::app).good(); }

}  // namespace

TEST(ConfinementTest, LeavesOnlyWhatWasNamed) {
  const TempFolder temp;
  for (const char* name : {"writable", "readable", "other"}) {
    fs::create_directory(temp.path() / name);
    std::ofstream(temp.path() / name / "file") << "x";
  }
  const ConfinementOptions options = {.writable = {temp.path() / "writable"},
                                      .readable = {temp.path() / "readable", temp.path() / "none"}};
  const int status = StatusInside(options, [&temp](const Confinement& confinement) {
    const bool free = !confinement.files;  // a kernel without landlock
    int wrong = 0;
    auto expect = [&wrong, bit = 1](bool holds) mutable {
      if (!holds) wrong |= bit;
      bit *= 2;
    };
    expect(CanWrite(temp.path() / "writable/file") && CanWrite(temp.path() / "writable/new"));
    expect(CanRead(temp.path() / "readable/file"));
    expect(CanWrite(temp.path() / "readable/file") == free);
    expect(CanRead(temp.path() / "other/file") == free);
    expect(CanWrite(temp.path() / "new") == free);
    return wrong;
  });
  EXPECT_EQ(status, 0);
}

TEST(ConfinementTest, TakesPrivilegesAndPrograms) {
  const int status = StatusInside({}, [](const Confinement& confinement) {
    int wrong = 0;
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) wrong |= 1;
    if (::prctl(PR_CAPBSET_READ, 0) > 0) wrong |= 2;
    if (confinement.system_calls) {
      ::execl("/bin/true", "true", nullptr);
      if (errno != EPERM) wrong |= 4;
      if (::kill(::getppid(), 0) == 0) wrong |= 8;
    }
    return wrong;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace doppler
