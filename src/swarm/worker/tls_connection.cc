#include "swarm/worker/tls_connection.h"

#include <cerrno>
#include <cstring>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "swarm/pem.h"
#include "swarm/worker/socket_address.h"

namespace doppler {
namespace {

constexpr long kPatienceSeconds = 5;

int Connect(const PeerAddress& peer) {
  const SocketAddress address = ToSocketAddress(peer);
  const int socket = ::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) Throw("cannot open a socket: {}", std::strerror(errno));
  // The first also bounds connecting.
  const timeval patience = {.tv_sec = kPatienceSeconds, .tv_usec = 0};
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(socket, address.get(), address.size) == 0) return socket;
  const int problem = errno;
  ::close(socket);
  Throw("cannot connect to {}: {}", FormatPeer(peer), std::strerror(problem));
}

// Reads one object of a PEM text that the program has checked.
template <typename Object>
auto FromPem(const std::string& text, Object* (*read)(BIO*, Object**, pem_password_cb*, void*),
             void (*release)(Object*)) {
  PemObject<Object> object = ReadPem(text, read, release);
  if (object == nullptr) Throw("a team's certificate or key cannot be read");
  return object;
}

void SetMember(SSL_CTX* context, const StartMessage& member) {
  const auto authority = FromPem(member.authority, PEM_read_bio_X509, X509_free);
  const auto certificate = FromPem(member.certificate, PEM_read_bio_X509, X509_free);
  const auto key = FromPem(member.private_key, PEM_read_bio_PrivateKey, EVP_PKEY_free);
  const bool done = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
                    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) == 1 &&
                    SSL_CTX_use_certificate(context, certificate.get()) == 1 &&
                    SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  if (!done) Throw("TLS does not take a team's certificate or key");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}

}  // namespace

TlsConnection::TlsConnection(const PeerAddress& peer, const StartMessage& member,
                             const std::string& server_name)
    : socket_(Connect(peer)),
      context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free),
      tls_(nullptr, SSL_free) {
  try {
    DOPPLER_CHECK(context_ != nullptr);
    SetMember(context_.get(), member);
    tls_.reset(SSL_new(context_.get()));
    DOPPLER_CHECK(tls_ != nullptr && SSL_set_fd(tls_.get(), socket_) == 1 &&
                  SSL_ctrl(tls_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                           const_cast<char*>(server_name.c_str())) == 1);
    if (SSL_connect(tls_.get()) != 1) Throw("{} does not speak to this team", FormatPeer(peer));
  } catch (const Error&) {
    ::close(socket_);
    throw;
  }
}

TlsConnection::~TlsConnection() { ::close(socket_); }

void TlsConnection::Write(std::string_view bytes) {
  std::size_t written = 0;
  if (SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &written) != 1 ||
      written != bytes.size()) {
    Throw("a peer has ended its connection");
  }
}

std::string TlsConnection::Read(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t there = 0; there < size;) {
    std::size_t got = 0;
    if (SSL_read_ex(tls_.get(), bytes.data() + there, size - there, &got) != 1) {
      Throw("a peer has ended its connection or is silent");
    }
    there += got;
  }
  return bytes;
}

std::string DhParameters() {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "DH", nullptr), EVP_PKEY_CTX_free);
  char group[] = "ffdhe2048";
  const std::array<OSSL_PARAM, 2> parameters = {OSSL_PARAM_construct_utf8_string("group", group, 0),
                                                OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  DOPPLER_CHECK(context != nullptr && EVP_PKEY_paramgen_init(context.get()) == 1 &&
                EVP_PKEY_CTX_set_params(context.get(), parameters.data()) == 1 &&
                EVP_PKEY_generate(context.get(), &made) == 1);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(made, EVP_PKEY_free);
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
  DOPPLER_CHECK(memory != nullptr && PEM_write_bio_Parameters(memory.get(), key.get()) == 1);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace doppler
