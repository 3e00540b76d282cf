#include "support/http_server.h"

#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";

HttpRequest ParseHead(const std::string& head) {
  HttpRequest request;
  const std::size_t begin = head.find(' ') + 1;
  request.path = head.substr(begin, head.find(' ', begin) - begin);
  constexpr std::string_view kRange = "Range: bytes=";
  const std::size_t range = head.find(kRange);
  if (range == std::string::npos) return request;
  std::size_t first = 0;
  std::size_t last = 0;
  if (std::sscanf(head.c_str() + range + kRange.size(), "%zu-%zu", &first, &last) != 2) {
    return request;
  }
  request.whole = false;
  request.begin = first;
  request.end = last + 1;
  return request;
}

std::string HeadOf(const HttpRequest& request, std::size_t size) {
  if (size == 0) return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
  if (request.whole) return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size);
  return fmt::format(
      "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {}-{}/*\r\n\r\n",
      size, request.begin, request.begin + size - 1);
}

}  // namespace

HttpServer::HttpServer(Answer answer) : answer_(std::move(answer)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  DOPPLER_CHECK(::bind(listener_, any, size) == 0 && ::listen(listener_, 16) == 0);
  DOPPLER_CHECK(::getsockname(listener_, any, &size) == 0);
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] { Accept(); });
}

HttpServer::~HttpServer() {
  ::shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  for (const int connection : connections_) ::shutdown(connection, SHUT_RDWR);
  for (std::thread& thread : threads_) thread.join();
  for (const int connection : connections_) ::close(connection);
  ::close(listener_);
}

void HttpServer::Accept() {
  for (;;) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    connections_.push_back(connection);
    threads_.emplace_back([this, connection] { Serve(connection); });
  }
}

void HttpServer::Serve(int connection) {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const std::size_t end = text.find(kHeadEnd);
    if (end == std::string::npos) {
      const ssize_t got = ::recv(connection, buffer.data(), buffer.size(), 0);
      if (got <= 0) return;
      text.append(buffer.data(), static_cast<std::size_t>(got));
      continue;
    }
    const HttpRequest request = ParseHead(text.substr(0, end));
    text.erase(0, end + kHeadEnd.size());
    std::string body;
    {
      const std::lock_guard lock(mutex_);
      body = answer_(request);
    }
    const std::string answer = HeadOf(request, body.size()) + body;
    for (std::string_view rest = answer; !rest.empty();) {
      const ssize_t sent = ::send(connection, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
}

}  // namespace doppler
