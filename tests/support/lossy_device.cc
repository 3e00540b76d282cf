#include "support/lossy_device.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr int kEthernetPayload = 1500;

[[noreturn]] void CannotLose(const std::string& device, const char* what) {
  Throw("cannot lose packets of '{}': {}: {}", device, what, std::strerror(errno));
}

int Bpf(bpf_cmd command, bpf_attr& attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

bpf_insn Instruction(unsigned code, std::uint8_t to, std::int16_t jump, std::int32_t value) {
  bpf_insn instruction{};
  instruction.code = static_cast<std::uint8_t>(code);
  instruction.dst_reg = to & 0xfu;
  instruction.off = jump;
  instruction.imm = value;
  return instruction;
}

// What the kernel runs for each packet that arrives: a random number below the limit drops it.
int LoadProgram(unsigned per_mille) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint32_t>::max();
  const auto limit = static_cast<std::uint32_t>(kLargest * per_mille / 1000);
  const std::array program = {
      Instruction(BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_get_prandom_u32),
      Instruction(BPF_JMP32 | BPF_JLT | BPF_K, BPF_REG_0, 2, static_cast<std::int32_t>(limit)),
      Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, XDP_PASS),
      Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0),
      Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, XDP_DROP),
      Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0),
  };
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_XDP;
  attributes.insns = reinterpret_cast<std::uintptr_t>(program.data());
  attributes.insn_cnt = program.size();
  attributes.license = reinterpret_cast<std::uintptr_t>("MIT");
  return Bpf(BPF_PROG_LOAD, attributes);
}

// The program stays where it is as long as the descriptor that this gives is open.
int Attach(int program, unsigned device) {
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attributes.link_create.target_ifindex = device;
  attributes.link_create.attach_type = BPF_XDP;
  attributes.link_create.flags = XDP_FLAGS_SKB_MODE;  // the mode that every device has
  return Bpf(BPF_LINK_CREATE, attributes);
}

// Otherwise TCP hands the device up to 64 KiB as one packet.
bool SendSmallPackets(const std::string& device) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
  request.ifr_mtu = kEthernetPayload;
  bool done = ::ioctl(socket, SIOCSIFMTU, &request) == 0;
  for (const std::uint32_t command : {ETHTOOL_STSO, ETHTOOL_SGSO}) {
    ethtool_value off{.cmd = command, .data = 0};
    request.ifr_data = reinterpret_cast<char*>(&off);
    done = done && ::ioctl(socket, SIOCETHTOOL, &request) == 0;
  }
  ::close(socket);
  return done;
}

}  // namespace

LossyDevice::LossyDevice(const std::string& device, unsigned per_mille) {
  const unsigned index = ::if_nametoindex(device.c_str());
  if (index == 0) CannotLose(device, "no such device");
  if (!SendSmallPackets(device)) CannotLose(device, "no small packets");
  const int program = LoadProgram(per_mille);
  if (program < 0) CannotLose(device, "no BPF program");
  link_ = Attach(program, index);
  ::close(program);
  if (link_ < 0) CannotLose(device, "no program for its packets");
}

LossyDevice::~LossyDevice() { ::close(link_); }

unsigned long TcpSegmentsSentAgain() {
  // Two lines of TCP: names, and numbers in the same order.
  std::ifstream file("/proc/thread-self/net/snmp");
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word != "Tcp:") continue;
    if (names.empty()) {
      while (words >> word) names.push_back(word);
      continue;
    }
    for (const std::string& name : names) {
      words >> word;
      if (name == "RetransSegs") return std::stoul(word);
    }
  }
  Throw("the kernel does not count TCP segments");
}

}  // namespace doppler
