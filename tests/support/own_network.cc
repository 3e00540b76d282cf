#include "support/own_network.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

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

bool PutUpLoopback() {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP;
  const bool up = ::ioctl(socket, SIOCSIFFLAGS, &loopback) == 0 && AddPublicAddress(socket);
  ::close(socket);
  return up;
}

// A namespace is its thread's, and that of the processes which the thread starts.
void InAnotherThread(const std::function<void()>& body) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

OwnNetwork::OwnNetwork() {
  InAnotherThread([this] {
    if (::unshare(CLONE_NEWNET) != 0) Throw("no network namespace: {}", std::strerror(errno));
    if (!PutUpLoopback()) {
      Throw("no loopback in a network namespace: {}", std::strerror(errno));
    }
    descriptor_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) Throw("no network namespace: {}", std::strerror(errno));
  });
}

OwnNetwork::~OwnNetwork() { ::close(descriptor_); }

void OwnNetwork::Run(const std::function<void()>& body) const { RunInNetwork(descriptor_, body); }

void RunInNetwork(int network, const std::function<void()>& body) {
  InAnotherThread([&] {
    if (::setns(network, CLONE_NEWNET) != 0) {
      Throw("no way into a network namespace: {}", std::strerror(errno));
    }
    body();
  });
}

std::string InItsOwnNetwork(const std::function<void()>& body) {
  std::optional<OwnNetwork> network;
  try {
    network.emplace();
  } catch (const Error& error) {
    return error.what();
  }
  network->Run(body);
  return {};
}

}  // namespace doppler
