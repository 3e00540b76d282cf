// Where models live on this machine.
#pragma once

#include <filesystem>
#include <string>

namespace doppler {

// DOPPLER_STORE, or the user's data folder (XDG_DATA_HOME, else ~/.local/share) + doppler/models.
std::filesystem::path LocalStoreFolder();

// The folder of the artifact that `name` means: a folder, or the name of one in the local store.
// Throws Error that says where it looked, and what to do with a checkpoint that is not converted.
std::filesystem::path ResolveModel(const std::string& name);

}  // namespace doppler
