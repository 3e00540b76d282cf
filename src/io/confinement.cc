#include "io/confinement.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Of later versions than the headers of Debian 12 know: linux/landlock.h of Linux 6.12.
constexpr std::uint64_t kTruncate = 1ull << 14u;       // version 3
constexpr std::uint64_t kDeviceControl = 1ull << 15u;  // version 5
constexpr std::uint64_t kScopeSockets = 1ull << 0u;    // version 6: of the abstract namespace
constexpr std::uint64_t kScopeSignals = 1ull << 1u;

struct RulesetAttributes {
  std::uint64_t files = 0;
  std::uint64_t network = 0;  // version 4; nothing is handled: peers listen on any port
  std::uint64_t scoped = 0;
};

constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t kRead = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kWriteFile = LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
constexpr std::uint64_t kWrite = kRead | kWriteFile | LANDLOCK_ACCESS_FS_MAKE_REG |
                                 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                 LANDLOCK_ACCESS_FS_REMOVE_DIR;
// A rule for a file must not name what only folders have.
constexpr std::uint64_t kOfFiles = kReadFile | kWriteFile;

// All rights that this version of landlock can take away; 0 if the kernel has none.
RulesetAttributes HandledBy(long version) {
  RulesetAttributes handled;
  if (version < 1) return handled;
  handled.files = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1;
  if (version >= 2) handled.files |= LANDLOCK_ACCESS_FS_REFER;
  if (version >= 3) handled.files |= kTruncate;
  if (version >= 5) handled.files |= kDeviceControl;
  if (version >= 6) handled.scoped = kScopeSockets | kScopeSignals;
  return handled;
}

std::size_t AttributesSize(long version) {
  if (version >= 6) return sizeof(RulesetAttributes);
  return version >= 4 ? offsetof(RulesetAttributes, scoped) : offsetof(RulesetAttributes, network);
}

void AllowBeneath(int ruleset, const fs::path& path, std::uint64_t rights) {
  const int descriptor = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR)) return;
  if (descriptor < 0) Throw("cannot open '{}': {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool folder = ::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
  landlock_path_beneath_attr rule{};
  rule.allowed_access = folder ? rights : rights & kOfFiles;
  rule.parent_fd = descriptor;
  const long result =
      ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  const int problem = errno;
  ::close(descriptor);
  if (result != 0) Throw("cannot confine to '{}': {}", path.string(), std::strerror(problem));
}

bool ConfineFiles(const ConfinementOptions& options) {
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  const RulesetAttributes handled = HandledBy(version);
  if (handled.files == 0) return false;
  const auto ruleset = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &handled, AttributesSize(version), 0));
  if (ruleset < 0) return false;
  for (const fs::path& path : options.writable) {
    AllowBeneath(ruleset, path, kWrite & handled.files);
  }
  for (const fs::path& path : options.readable) AllowBeneath(ruleset, path, kRead & handled.files);
  const bool done = ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
  ::close(ruleset);
  return done;
}

void DropCapabilities() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    ::prctl(PR_CAPBSET_DROP, capability);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  const std::array<__user_cap_data_struct, 2> none{};
  ::syscall(SYS_capset, &header, none.data());
}

#if defined(__x86_64__)
constexpr std::uint32_t kMachine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kMachine = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kMachine = 0;
#endif

// What a process that only moves bytes between sockets and files never needs, and what would let it
// reach others.
constexpr std::array kForbiddenCalls = {
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_init_module,
    SYS_finit_module,
    SYS_kexec_load,
    SYS_io_uring_setup,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
};

sock_filter Statement(std::uint16_t code, std::uint32_t value) { return {code, 0, 0, value}; }

bool ConfineSystemCalls() {
  if (kMachine == 0) return false;
  constexpr std::uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS;
  constexpr std::uint16_t kReturn = BPF_RET | BPF_K;
  constexpr std::uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;
  std::vector<sock_filter> program = {
      Statement(kLoad, offsetof(seccomp_data, arch)),
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, kMachine},
      Statement(kReturn, SECCOMP_RET_KILL_PROCESS),
      Statement(kLoad, offsetof(seccomp_data, nr)),
  };
#if defined(__x86_64__)
  // The second numbering of the same calls (x32) begins here.
  constexpr std::uint32_t kX32 = 0x40000000;
  program.push_back({BPF_JMP | BPF_JGE | BPF_K, 0, 1, kX32});
  program.push_back(Statement(kReturn, kRefuse));
#endif
  for (const long call : kForbiddenCalls) {
    program.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<std::uint32_t>(call)});
    program.push_back(Statement(kReturn, kRefuse));
  }
  program.push_back(Statement(kReturn, SECCOMP_RET_ALLOW));
  sock_fprog filter{};
  filter.len = static_cast<std::uint16_t>(program.size());
  filter.filter = program.data();
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

Confinement ConfineProcess(const ConfinementOptions& options) {
  DropCapabilities();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    Throw("cannot give up privileges: {}", std::strerror(errno));
  }
  // Nobody without privileges may look into it, and it leaves no image of its memory.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  Confinement confinement;
  confinement.files = ConfineFiles(options);
  confinement.system_calls = ConfineSystemCalls();
  return confinement;
}

}  // namespace doppler
