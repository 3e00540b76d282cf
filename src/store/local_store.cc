#include "store/local_store.h"

#include <cstdlib>

#include "base/error.h"
#include "format/artifact_files.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// An environment variable; empty if it is not set.
std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool IsArtifact(const fs::path& folder) { return fs::exists(folder / kManifestFile); }

}  // namespace

fs::path LocalStoreFolder() {
  if (const std::string store = Environment("DOPPLER_STORE"); !store.empty()) return store;
  const fs::path models = fs::path("doppler") / "models";
  if (const std::string data = Environment("XDG_DATA_HOME"); !data.empty()) return data / models;
  return fs::path(Environment("HOME")) / ".local" / "share" / models;
}

fs::path ResolveModel(const std::string& name) {
  fs::path path = name;
  if (IsArtifact(path)) return path;
  fs::path stored = LocalStoreFolder() / path;
  const bool plain_name = path.has_filename() && !path.has_parent_path();
  if (plain_name && IsArtifact(stored)) return stored;
  const bool checkpoint = fs::exists(path / "config.json") || path.extension() == ".gguf";
  if (checkpoint && fs::exists(path)) {
    Throw("'{}' is a checkpoint; convert it first: doppler convert {} OUT", name, name);
  }
  for (const fs::path& folder : {path, stored}) {
    if (fs::exists(folder / kUnfinishedManifest)) {
      Throw("'{}' is not fetched as far as a model needs; 'doppler pull' with its link goes on",
            folder.string());
    }
  }
  if (fs::exists(path)) {
    Throw("'{}' is not a model: it has no manifest.json; make one with 'doppler convert'", name);
  }
  Throw("there is no model '{}', neither as a folder nor in the local store '{}'", name,
        LocalStoreFolder().string());
}

}  // namespace doppler
