#include "support/tls_peer.h"

#include <array>
#include <memory>

#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

using TlsContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Tls = std::unique_ptr<SSL, decltype(&SSL_free)>;

class TcpSocket {
 public:
  explicit TcpSocket(int descriptor) : descriptor_(descriptor) {
    DOPPLER_CHECK(descriptor_ >= 0);
    // Against hanging only: who is refused is told so.
    const timeval patience = {.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  ~TcpSocket() { ::close(descriptor_); }
  TcpSocket(const TcpSocket&) = delete;
  TcpSocket& operator=(const TcpSocket&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

int OpenTo(std::uint16_t port) {
  const int socket = NewSocket();
  const sockaddr_in address = LoopbackAddress(port);
  DOPPLER_CHECK(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
                0);
  return socket;
}

TlsContext ContextOf(const SSL_METHOD* method, const TlsIdentity& identity) {
  TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
  DOPPLER_CHECK(context != nullptr);
  if (identity.certificate.empty()) return context;
  const auto memory = [](const std::string& text) {
    return std::unique_ptr<BIO, decltype(&BIO_free)>(
        BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  };
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      PEM_read_bio_X509(memory(identity.certificate).get(), nullptr, nullptr, nullptr), X509_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(memory(identity.private_key).get(), nullptr, nullptr, nullptr),
      EVP_PKEY_free);
  DOPPLER_CHECK(SSL_CTX_use_certificate(context.get(), certificate.get()) == 1 &&
                SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1);
  return context;
}

Tls Over(const TlsContext& context, const TcpSocket& socket) {
  Tls tls(SSL_new(context.get()), SSL_free);
  DOPPLER_CHECK(tls != nullptr && SSL_set_fd(tls.get(), socket.descriptor()) == 1);
  return tls;
}

}  // namespace

std::string AskOverTls(std::uint16_t port, const TlsIdentity& identity,
                       const std::string& server_name, std::string_view hello) {
  const TlsContext context = ContextOf(TLS_client_method(), identity);
  const TcpSocket socket(OpenTo(port));
  const Tls tls = Over(context, socket);
  DOPPLER_CHECK(SSL_ctrl(tls.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                         const_cast<char*>(server_name.c_str())) == 1);
  std::array<char, 256> answer{};
  std::size_t size = 0;
  if (SSL_connect(tls.get()) != 1 ||
      SSL_write_ex(tls.get(), hello.data(), hello.size(), &size) != 1 ||
      SSL_read_ex(tls.get(), answer.data(), answer.size(), &size) != 1) {
    return {};
  }
  return {answer.data(), size};
}

std::string AskInPlain(std::uint16_t port, std::string_view hello) {
  const TcpSocket socket(OpenTo(port));
  std::array<char, 256> answer{};
  ::send(socket.descriptor(), hello.data(), hello.size(), MSG_NOSIGNAL);
  const ssize_t size = ::recv(socket.descriptor(), answer.data(), answer.size(), 0);
  return size <= 0 ? std::string() : std::string(answer.data(), static_cast<std::size_t>(size));
}

TlsImpostor::TlsImpostor(TlsIdentity identity) : identity_(std::move(identity)) {
  thread_ = std::thread([this] { Run(); });
}

TlsImpostor::~TlsImpostor() {
  stop_ = true;
  thread_.join();
}

void TlsImpostor::Run() {
  const TlsContext context = ContextOf(TLS_server_method(), identity_);
  while (!stop_) {
    constexpr std::chrono::milliseconds kTick(10);
    const auto accepted = listener_.Accept(kTick);
    if (!accepted) continue;
    const TcpSocket socket(*accepted);
    const Tls tls = Over(context, socket);
    ++connections_;
    char byte = 0;
    std::size_t size = 0;
    if (SSL_accept(tls.get()) == 1 && SSL_read_ex(tls.get(), &byte, 1, &size) == 1) ++fooled_;
  }
}

}  // namespace doppler
