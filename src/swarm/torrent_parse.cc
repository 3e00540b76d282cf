// Torrents from outside: every part is checked before a Torrent exists.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "format/artifact_files.h"
#include "swarm/bencode.h"
#include "swarm/certificate.h"
#include "swarm/torrent.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

constexpr std::size_t kMostShardDigits = 9;

void RequireKeys(const BencodeValue& dict, std::string_view what,
                 std::initializer_list<std::string_view> allowed) {
  for (const auto& [key, value] : dict.Dict(what)) {
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      Throw("'{}' has a key that no torrent of a model has", what);
    }
  }
}

const BencodeValue& Member(const BencodeValue& dict, std::string_view what, std::string_view key) {
  if (dict.kind() != BencodeValue::Kind::kDict) Throw("'{}' is not a dictionary", what);
  const BencodeValue* found = dict.Find(key);
  if (found == nullptr) Throw("'{}' lacks the key '{}'", what, key);
  return *found;
}

Digest ReadDigest(const BencodeValue& value, std::string_view what) {
  const std::string_view text = value.String(what);
  Digest digest{};
  if (text.size() != digest.size()) Throw("'{}' is not a hash of 32 bytes", what);
  std::memcpy(digest.data(), text.data(), digest.size());
  return digest;
}

// A file's length, which depends on what the file is.
Bytes ReadLength(const BencodeValue& value, const std::string& path) {
  const std::int64_t length = value.Integer("length");
  const bool shard = IsShardPath(path);
  const Bytes most = shard ? kMostShardBytes : kMostTextBytes;
  if (length <= 0 || static_cast<Bytes>(length) > most ||
      (shard && static_cast<Bytes>(length) % kDirectAlignment != 0)) {
    Throw("'{}' cannot have {} bytes", path, length);
  }
  return static_cast<Bytes>(length);
}

void ReadFile(const BencodeValue& value, const std::string& path, std::vector<TorrentFile>& files) {
  if (!IsShardPath(path) && !IsTextPath(path)) {
    Throw("a model has no file of the name '{}'", path.substr(0, 64));
  }
  RequireKeys(value, path, {""});
  const BencodeValue& file = Member(value, path, "");
  // No 'attr' and 'symlink path': nothing in a model is a link.
  RequireKeys(file, path, {"length", "pieces root"});
  files.push_back({.path = path,
                   .size = ReadLength(Member(file, path, "length"), path),
                   .root = ReadDigest(Member(file, path, "pieces root"), path),
                   .layer = {}});
}

// Names come from outside and go into messages: control characters would reach the terminal.
std::string PlainName(std::string_view name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '/' && c != '\\';
  });
  if (!plain) Throw("a file of the torrent has a name that no file of a model has");
  return std::string(name);
}

std::vector<TorrentFile> ReadFileTree(const BencodeValue& tree) {
  std::vector<TorrentFile> files;
  for (const auto& [name, value] : tree.Dict("file tree")) {
    if (name != "shards") {
      ReadFile(value, PlainName(name), files);
      continue;
    }
    for (const auto& [shard, file] : value.Dict("shards")) {
      ReadFile(file, std::string(kShardsFolder) + PlainName(shard), files);
    }
  }
  return files;
}

void RequireWhole(const Torrent& torrent) {
  if (torrent.Find(kManifestFile) == nullptr) Throw("there is no manifest.json in it");
  const bool any_shard =
      std::any_of(torrent.files.begin(), torrent.files.end(),
                  [](const TorrentFile& file) { return IsShardPath(file.path); });
  if (!any_shard) Throw("there are no shards in it");
  std::size_t pieces = 0;
  for (const TorrentFile& file : torrent.files) {
    pieces += PieceCount(file);
    if (pieces > kMostPieces) Throw("it is larger than {}", FormatSize(kMostPieces * kPieceBytes));
  }
}

Torrent ReadInfo(const BencodeValue& info) {
  if (info.kind() != BencodeValue::Kind::kDict) Throw("'info' is not a dictionary");
  const BencodeValue* version = info.Find("meta version");
  if (version == nullptr || info.Find("pieces") != nullptr) {
    Throw("it is not a torrent of version 2 alone; 'doppler share' makes such");
  }
  if (version->Integer("meta version") != 2) Throw("the 'meta version' is not 2");
  RequireKeys(info, "info", {"file tree", "meta version", "name", "piece length", kAuthorityKey});
  const BencodeValue& piece = Member(info, "info", "piece length");
  if (piece.Integer("piece length") != static_cast<std::int64_t>(kPieceBytes)) {
    Throw("the 'piece length' is not {}", kPieceBytes);
  }
  Torrent torrent;
  torrent.name = Member(info, "info", "name").String("name");
  if (!IsModelName(torrent.name)) {
    Throw("the 'name' is not a model's: 1 to 128 letters, digits, '-', '_' and '.', no '.' first");
  }
  torrent.files = ReadFileTree(Member(info, "info", "file tree"));
  RequireWhole(torrent);
  if (const BencodeValue* authority = info.Find(kAuthorityKey)) {
    torrent.authority = authority->String(kAuthorityKey);
    RequireAuthority(torrent.authority);
  }
  return torrent;
}

void ReadLayers(const BencodeValue& layers, Torrent& torrent) {
  std::vector<TorrentFile*> by_root;
  for (TorrentFile& file : torrent.files) {
    if (PieceCount(file) > 1) by_root.push_back(&file);
  }
  const auto less = [](const TorrentFile* a, const TorrentFile* b) { return a->root < b->root; };
  std::sort(by_root.begin(), by_root.end(), less);
  for (const auto& [key, value] : layers.Dict("piece layers")) {
    TorrentFile wanted;
    if (key.size() != wanted.root.size()) Throw("a key of 'piece layers' is not a hash");
    std::memcpy(wanted.root.data(), key.data(), key.size());
    const auto [begin, end] = std::equal_range(by_root.begin(), by_root.end(), &wanted, less);
    if (begin == end) Throw("'piece layers' has a layer of no file");
    const std::string_view text = value.String("piece layers");
    std::vector<Digest> layer(text.size() / sizeof(Digest));
    if (layer.size() * sizeof(Digest) != text.size() || layer.size() != PieceCount(**begin)) {
      Throw("the piece layer of '{}' has the wrong length", (*begin)->path);
    }
    std::memcpy(layer.data(), text.data(), text.size());
    for (auto file = begin; file != end; ++file) {
      if (!LayerFits(**file, layer)) {
        Throw("the piece layer of '{}' does not have its root", (*file)->path);
      }
      (*file)->layer = layer;
    }
  }
}

void AddUrl(std::vector<std::string>& urls, const BencodeValue& value,
            void (*require)(std::string_view)) {
  const std::string_view url = value.String("a URL");
  require(url);
  if (std::find(urls.begin(), urls.end(), url) != urls.end()) return;
  if (urls.size() == kMostUrls) Throw("there are more than {} URLs of one kind", kMostUrls);
  urls.emplace_back(url);
}

void ReadUrls(const BencodeValue& top, Torrent& torrent) {
  if (const BencodeValue* announce = top.Find("announce")) {
    AddUrl(torrent.trackers, *announce, RequireTracker);
  }
  if (const BencodeValue* list = top.Find("announce-list")) {
    for (const BencodeValue& tier : list->List("announce-list")) {
      for (const BencodeValue& url : tier.List("announce-list")) {
        AddUrl(torrent.trackers, url, RequireTracker);
      }
    }
  }
  if (const BencodeValue* list = top.Find("url-list")) {
    if (list->kind() == BencodeValue::Kind::kString) {
      AddUrl(torrent.web_seeds, *list, RequireWebSeed);
      return;
    }
    for (const BencodeValue& url : list->List("url-list")) {
      AddUrl(torrent.web_seeds, url, RequireWebSeed);
    }
  }
}

ModelSignature ReadSignature(std::string_view text) {
  constexpr std::size_t kPart = sizeof(Digest);
  if (text.size() != 3 * kPart) Throw("'{}' does not have {} bytes", kSignatureKey, 3 * kPart);
  ModelSignature signature;
  std::memcpy(signature.key.data(), text.data(), kPart);
  std::memcpy(signature.signature[0].data(), text.data() + kPart, kPart);
  std::memcpy(signature.signature[1].data(), text.data() + 2 * kPart, kPart);
  return signature;
}

bool IsUrl(std::string_view url, std::initializer_list<std::string_view> schemes) {
  const bool known = std::any_of(schemes.begin(), schemes.end(), [url](std::string_view scheme) {
    return url.starts_with(scheme) && url.size() > scheme.size();
  });
  return known && url.size() <= kMostUrlBytes &&
         std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

template <typename Read>
Torrent Parse(std::string_view text, const std::string& where, const Read& read) {
  try {
    return read(ParseBencode(text));
  } catch (const Error& error) {
    Throw("{}: {}", where, error.what());
  }
}

}  // namespace

bool IsShardPath(std::string_view path) {
  constexpr std::string_view kEnd = ".bin";
  if (!path.starts_with(kShardsFolder) || !path.ends_with(kEnd)) return false;
  if (path.size() <= kShardsFolder.size() + kEnd.size()) return false;
  path.remove_prefix(kShardsFolder.size());
  path.remove_suffix(kEnd.size());
  return path.size() <= kMostShardDigits &&
         std::all_of(path.begin(), path.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool IsTextPath(std::string_view path) {
  return path == kManifestFile ||
         std::find(kTokenizerFiles.begin(), kTokenizerFiles.end(), path) != kTokenizerFiles.end();
}

bool IsModelName(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

void RequireTracker(std::string_view url) {
  if (!IsUrl(url, {"http://", "https://", "udp://"})) {
    Throw("a tracker's address begins with http://, https:// or udp:// and has no spaces");
  }
}

void RequireWebSeed(std::string_view url) {
  if (!IsUrl(url, {"http://", "https://"})) {
    Throw("a web seed's address begins with http:// or https:// and has no spaces");
  }
}

Torrent ParseInfoDict(std::string_view text, const std::string& where) {
  return Parse(text, where, ReadInfo);
}

Torrent ParseTorrent(std::string_view text, const std::string& where) {
  return Parse(text, where, [](const BencodeValue& top) {
    Torrent torrent = ReadInfo(Member(top, "the torrent", "info"));
    if (const BencodeValue* layers = top.Find("piece layers")) ReadLayers(*layers, torrent);
    ReadUrls(top, torrent);
    if (const BencodeValue* signature = top.Find(kSignatureKey)) {
      torrent.signature = ReadSignature(signature->String(kSignatureKey));
    }
    return torrent;
  });
}

}  // namespace doppler
