#include "swarm/certificate.h"

#include <array>
#include <memory>
#include <span>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "swarm/pem.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

using Memory = std::unique_ptr<BIO, decltype(&BIO_free)>;
using CertificateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

constexpr long kVersion3 = 2;  // as X.509 writes it
constexpr std::size_t kSerialBytes = 16;

std::string TakeText(const Memory& memory) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string ToPem(X509* certificate) {
  const Memory memory(BIO_new(BIO_s_mem()), BIO_free);
  DOPPLER_CHECK(memory != nullptr && PEM_write_bio_X509(memory.get(), certificate) == 1);
  return TakeText(memory);
}

std::string ToPem(EVP_PKEY* key) {
  const Memory memory(BIO_new(BIO_s_mem()), BIO_free);
  DOPPLER_CHECK(memory != nullptr && PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr,
                                                              0, nullptr, nullptr) == 1);
  return TakeText(memory);
}

// Null for what is none.
Certificate ReadCertificate(std::string_view pem) {
  if (pem.size() > kMostPemBytes) return {nullptr, X509_free};
  return ReadPem(pem, PEM_read_bio_X509, X509_free);
}

CertificateKey ReadPrivateKey(std::string_view pem) {
  if (pem.size() > kMostPemBytes) return {nullptr, EVP_PKEY_free};
  return ReadPem(pem, PEM_read_bio_PrivateKey, EVP_PKEY_free);
}

CertificateKey NewKey() {
  CertificateKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free);
  DOPPLER_CHECK(key != nullptr);
  return key;
}

void SetSerial(X509* certificate) {
  std::array<unsigned char, kSerialBytes> bytes{};
  DOPPLER_CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3fu) | 0x40u);  // positive, all bytes used
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(
      BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr), BN_free);
  DOPPLER_CHECK(number != nullptr &&
                BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

void AddName(X509_NAME* name, const char* field, std::string_view value) {
  DOPPLER_CHECK(X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC,
                                           reinterpret_cast<const unsigned char*>(value.data()),
                                           static_cast<int>(value.size()), -1, 0) == 1);
}

void AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()), X509_EXTENSION_free);
  DOPPLER_CHECK(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1);
}

Certificate NewCertificate(EVP_PKEY* key, const Validity& validity) {
  Certificate certificate(X509_new(), X509_free);
  DOPPLER_CHECK(certificate != nullptr && X509_set_version(certificate.get(), kVersion3) == 1);
  SetSerial(certificate.get());
  DOPPLER_CHECK(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), validity.begin) != nullptr &&
                ASN1_TIME_set(X509_getm_notAfter(certificate.get()), validity.end) != nullptr &&
                X509_set_pubkey(certificate.get(), key) == 1);
  return certificate;
}

void Sign(X509* certificate, EVP_PKEY* key) {
  DOPPLER_CHECK(X509_sign(certificate, key, nullptr) > 0);
}

std::string DateOf(const ASN1_TIME* time) {
  const Memory memory(BIO_new(BIO_s_mem()), BIO_free);
  DOPPLER_CHECK(memory != nullptr);
  ASN1_TIME_print(memory.get(), time);
  return TakeText(memory);
}

void RequireInTime(const X509* certificate, const std::string& what, std::time_t now) {
  if (X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0) {
    Throw("{} expired on {}; ask who runs the team for a new one", what,
          DateOf(X509_get0_notAfter(certificate)));
  }
  if (X509_cmp_time(X509_get0_notBefore(certificate), &now) >= 0) {
    Throw("{} is good only from {} on; is this machine's clock right?", what,
          DateOf(X509_get0_notBefore(certificate)));
  }
}

}  // namespace

Validity ValidFor(int days) {
  constexpr std::time_t kDay = 24 * 60 * 60;
  const std::time_t now = std::time(nullptr);
  return {.begin = now - kDay, .end = now + days * kDay};
}

bool IsPlainName(std::string_view name) {
  constexpr std::size_t kMostBytes = 64;  // of an entry of an X.509 name
  return name.size() <= kMostBytes && IsModelName(name);
}

KeyPair MakeAuthority(std::string_view team, const Validity& validity) {
  DOPPLER_CHECK(IsPlainName(team));
  const CertificateKey key = NewKey();
  const Certificate certificate = NewCertificate(key.get(), validity);
  X509* const own = certificate.get();
  AddName(X509_get_subject_name(own), "O", team);
  DOPPLER_CHECK(X509_set_issuer_name(own, X509_get_subject_name(own)) == 1);
  AddExtension(own, own, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  AddExtension(own, own, NID_key_usage, "critical,keyCertSign");
  AddExtension(own, own, NID_subject_key_identifier, "hash");
  Sign(own, key.get());
  return {.certificate = ToPem(own), .private_key = ToPem(key.get())};
}

KeyPair MakeMember(const KeyPair& authority, std::string_view member,
                   const std::vector<std::string>& models, const Validity& validity) {
  DOPPLER_CHECK(IsPlainName(member));
  const Certificate issuer = ReadCertificate(authority.certificate);
  const CertificateKey issuer_key = ReadPrivateKey(authority.private_key);
  if (issuer == nullptr || issuer_key == nullptr ||
      X509_check_private_key(issuer.get(), issuer_key.get()) != 1) {
    Throw("the team's certificate and its private key do not belong together");
  }
  const CertificateKey key = NewKey();
  const Certificate certificate = NewCertificate(key.get(), validity);
  X509* const own = certificate.get();
  // Not as common name: libtorrent would take that for the name of a model.
  AddName(X509_get_subject_name(own), "OU", member);
  DOPPLER_CHECK(X509_set_issuer_name(own, X509_get_subject_name(issuer.get())) == 1);
  std::string names;
  for (const std::string& model : models) names += (names.empty() ? "DNS:" : ",DNS:") + model;
  AddExtension(own, issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(own, issuer.get(), NID_key_usage, "critical,digitalSignature");
  AddExtension(own, issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  AddExtension(own, issuer.get(), NID_authority_key_identifier, "keyid");
  AddExtension(own, issuer.get(), NID_subject_alt_name, names.empty() ? "DNS:*" : names);
  Sign(own, issuer_key.get());
  return {.certificate = ToPem(own), .private_key = ToPem(key.get())};
}

void RequireAuthority(std::string_view pem) {
  if (pem.size() > kMostPemBytes) {
    Throw("a team's certificate has more than {} bytes", kMostPemBytes);
  }
  const Certificate certificate = ReadCertificate(pem);
  if (certificate == nullptr || ToPem(certificate.get()) != pem) {
    Throw("a team's certificate is not one X.509 certificate as PEM text alone");
  }
  if (X509_check_ca(certificate.get()) != 1) {
    Throw("a team's certificate is not one that can sign those of members");
  }
}

Digest TeamHash(std::string_view authority) { return Sha256(std::as_bytes(std::span(authority))); }

void RequireSigned(const KeyPair& member, const std::string& authority, const std::string& what,
                   std::time_t now) {
  const Certificate issuer = ReadCertificate(authority);
  const Certificate certificate = ReadCertificate(member.certificate);
  const CertificateKey key = ReadPrivateKey(member.private_key);
  if (issuer == nullptr || certificate == nullptr) {
    Throw("{} is not an X.509 certificate in a PEM file", what);
  }
  if (key == nullptr || X509_check_private_key(certificate.get(), key.get()) != 1) {
    Throw("{} and its private key do not belong together", what);
  }
  if (X509_verify(certificate.get(), X509_get0_pubkey(issuer.get())) != 1) {
    Throw("{} was signed by another team's authority", what);
  }
  RequireInTime(certificate.get(), what, now);
  RequireInTime(issuer.get(), "the team's own certificate", now);
}

std::vector<std::string> ModelsOf(const std::string& pem) {
  const Certificate certificate = ReadCertificate(pem);
  if (certificate == nullptr) Throw("a member's certificate is not an X.509 certificate");
  std::vector<std::string> models;
  auto* const names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS) continue;
    const ASN1_IA5STRING* const text = name->d.dNSName;
    models.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                        static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  return models;
}

}  // namespace doppler
