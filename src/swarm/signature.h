// Who vouches for a model: an Ed25519 signature (RFC 8032) over its info-hash, which covers the
// manifest and so every shard.
//
//   what is signed:  "doppler signed model 1\n" and the info-hash, 64 hexadecimal digits, and "\n"
//   how it travels:  `manifest.sig` in the folder (of a team's info-hash, which is another:
//                    `manifest.<8 digits of TeamHash>.sig`), `x.sig` in a link, "doppler signature"
//                    in a .torrent file, beside the info dictionary: 32 bytes of public key, 64 of
//                    signature
//
// Keys are PEM files as `openssl genpkey -algorithm ed25519` makes them.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/sha256.h"

namespace doppler {

// The name of the file that keeps it.
std::string SignatureFile(const std::optional<Digest>& team);

struct ModelSignature {
  Digest key{};                       // the public key
  std::array<Digest, 2> signature{};  // its two halves

  bool operator==(const ModelSignature&) const = default;
};

// 192 hexadecimal digits. Throws Error for what is none, which says nothing of its truth.
std::string FormatSignature(const ModelSignature& signature);
ModelSignature ParseSignature(std::string_view hex);

// Signs with the private key in a PEM file. Throws Error that names the file.
ModelSignature SignModel(const Digest& info_hash, const std::filesystem::path& private_key);

// Whether the signature's own key has made it for this model.
bool IsGenuine(const ModelSignature& signature, const Digest& info_hash);

// Throws Error unless the signature is genuine, and unless it was made with the key whose public
// half is in the PEM file `trusted`. Without such a file a model may also be unsigned.
void RequireSignature(const std::optional<ModelSignature>& signature, const Digest& info_hash,
                      const std::filesystem::path& trusted);

// The signature that a folder keeps of the model, or of a team's swarm of it; nothing if it has
// none. Throws Error for a file that is none.
std::optional<ModelSignature> ReadSignatureFile(const std::filesystem::path& folder,
                                                const std::optional<Digest>& team);
// `authority`: the PEM text in the torrent of the team whose swarm it is; empty: of nobody's. It is
// kept behind the signature, which cannot be checked without it.
void WriteSignatureFile(const std::filesystem::path& folder, const std::string& authority,
                        const ModelSignature& signature);
// The authorities of the swarms of whose torrents the folder keeps signatures, "" for nobody's,
// which comes first. Throws Error.
std::vector<std::string> SignedAuthorities(const std::filesystem::path& folder);

}  // namespace doppler
