#include "convert/tokenizer_files.h"

#include "base/error.h"
#include "convert/gguf_tokenizer.h"
#include "format/artifact_files.h"
#include "format/gguf.h"
#include "io/file.h"
#include "text/tiktoken.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

std::string TextOf(const std::vector<TextFile>& files, const std::string& name) {
  for (const TextFile& file : files) {
    if (file.name == name) return file.text;
  }
  return {};
}

TextFile RewriteTiktoken(const fs::path& path, const std::vector<TextFile>& others) {
  try {
    return {"tokenizer.json",
            TokenizerJsonFromTiktoken(ReadTextFile(path), TextOf(others, "tokenizer_config.json"))};
  } catch (const Error& error) {
    Throw("{}: {}", path.string(), error.what());
  }
}

}  // namespace

std::vector<TextFile> ReadTokenizerFiles(const fs::path& folder, bool allow_missing) {
  std::vector<TextFile> files;
  for (const std::string_view name : kTokenizerFiles) {
    if (!fs::exists(folder / name)) continue;
    files.push_back({std::string(name), ReadTextFile(folder / name)});
  }
  const bool has_json = fs::exists(folder / "tokenizer.json");
  const fs::path tiktoken = folder / "tiktoken.model";
  if (!has_json && fs::exists(tiktoken)) {
    files.push_back(RewriteTiktoken(tiktoken, files));
  } else if (!has_json && !allow_missing) {
    Throw(
        "'{}' has no tokenizer.json and no tiktoken.model, without which the model cannot read "
        "text; fetch it from where the checkpoint came from",
        folder.string());
  }
  return files;
}

Tokenizer OpenTokenizer(const fs::path& path) {
  const std::vector<TextFile> files = fs::is_directory(path)
                                          ? ReadTokenizerFiles(path, false)
                                          : TokenizerFilesFromGguf(GgufModel(path).metadata());
  return Tokenizer::FromJson(TextOf(files, "tokenizer.json"),
                             TextOf(files, "tokenizer_config.json"), path.string(),
                             TextOf(files, "generation_config.json"));
}

}  // namespace doppler
