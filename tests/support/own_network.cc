#include "support/own_network.h"

#include <cerrno>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace doppler {
namespace {

// Gives the loopback of this network another address.
bool AddPublicAddress(int socket) {
  ifreq alias{};
  std::strcpy(alias.ifr_name, "lo:1");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, kPublicAddress, &address.sin_addr);
  std::memcpy(&alias.ifr_addr, &address, sizeof address);
  return ::ioctl(socket, SIOCSIFADDR, &alias) == 0;
}

}  // namespace

std::string InItsOwnNetwork(const std::function<void()>& body) {
  std::string problem;
  // A namespace is its thread's, and that of the processes which the thread starts.
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      problem = std::string("no network namespace: ") + std::strerror(errno);
      return;
    }
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP;
    const bool up = ::ioctl(socket, SIOCSIFFLAGS, &loopback) == 0 && AddPublicAddress(socket);
    ::close(socket);
    if (!up) {
      problem = std::string("no loopback in a network namespace: ") + std::strerror(errno);
      return;
    }
    body();
  }).join();
  return problem;
}

}  // namespace doppler
