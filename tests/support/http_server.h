// A web server on loopback for tests: answers GET requests, also for a range of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace doppler {

struct HttpRequest {
  std::string path;
  bool whole = true;      // or
  std::size_t begin = 0;  // the bytes from here
  std::size_t end = 0;    // to before here
};

// Serves from its own threads until it is destroyed.
class HttpServer {
 public:
  // The body of the answer; nothing is "not found".
  using Answer = std::function<std::string(const HttpRequest&)>;

  explicit HttpServer(Answer answer);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  void Accept();
  void Serve(int connection);

  Answer answer_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

}  // namespace doppler
