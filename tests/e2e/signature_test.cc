// Models that are signed, from `share --sign` to `--trust`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/swarm.h"
#include "e2e/team.h"
#include "io/file.h"
#include "swarm/sample_keys.h"

namespace doppler {

using testing::HasSubstr;

TEST(SignedModelTest, TheSignatureGoesWithTheModel) {
  const TempFolder temp;
  const SampleKeys keys(temp.path());
  const fs::path model = temp.path() / "model";
  const fs::path torrent = temp.path() / "model.torrent";
  WriteSampleArtifact(model);
  const Seed seed(model, {"--sign", keys.key, "--torrent", torrent});
  EXPECT_THAT(seed.link(), HasSubstr("&x.sig=19bf44096984cdfe"));
  const fs::path out = temp.path() / "pulled";
  const auto pull = [&](const std::string& source, const fs::path& trust) {
    return Doppler(PullArguments(source, out, {"--peer", seed.peer(), "--trust", trust}));
  };
  ExpectRefused(pull(seed.link(), keys.other_public), kFailed, {"is signed by the key 19bf4409"});
  const std::size_t begin = seed.link().find("&x.sig=");
  const std::string bare = std::string(seed.link()).erase(begin, 7 + 192);
  ExpectRefused(pull(bare, keys.key_public), kFailed, {"is not signed"});
  std::string altered = seed.link();
  altered[begin + 7 + 100] = altered[begin + 7 + 100] == '0' ? '1' : '0';
  ExpectRefused(pull(altered, keys.key_public), kFailed, {"is not that of this model"});
  EXPECT_FALSE(fs::exists(out / "shards"));
  ExpectDone(pull(torrent, keys.key_public));
  // The folder has it now, for links without one and for who fetches from here.
  ExpectDone(pull(bare, keys.key_public));
  const Seed second(out);
  EXPECT_EQ(second.link(), seed.link());
}

TEST(SignedModelTest, ARunTrustsAFolderOrNot) {
  const TempFolder temp;
  const SampleKeys keys(temp.path());
  const fs::path model = temp.path() / "model";
  fs::copy(MoeModel(), model, fs::copy_options::recursive);
  const auto run = [&](const fs::path& trust) {
    return Doppler({"run", model, "-p", "x", "-n", "1", "--cold", "--trust", trust});
  };
  ExpectRefused(run(keys.key_public), kFailed, {"is not signed"});
  { const Seed sign(model, {"--sign", keys.key}); }
  ExpectDone(run(keys.key_public));
  ExpectRefused(run(keys.other_public), kFailed, {"is signed by the key"});
  fs::remove(model / "manifest.sig");
  const Crew crew;
  { const Seed sign(model, {"--sign", keys.key, "--team", crew.folder()}); }
  ExpectDone(run(keys.key_public));
  ExpectRefused(run(keys.other_public), kFailed, {"is signed by the key"});
  { const Seed sign(model, {"--sign", keys.key}); }
  Overwrite(model / "manifest.json", ReadTextFile(model / "manifest.json") + " ");
  ExpectRefused(run(keys.key_public), kFailed, {"is not that of this model"});
  ExpectRefused(Doppler({"share", model, "--private"}), kFailed, {"is not that of this model"});
}

}  // namespace doppler
