// Models that go from process to process over loopback.
#include "e2e/swarm.h"

#include <csignal>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "format/manifest.h"
#include "io/file.h"
#include "support/http_server.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::HasSubstr;

namespace {

nlohmann::json PullJson(const std::string& source, const fs::path& out,
                        const std::vector<std::string>& flags) {
  return JsonOutput(PullArguments(source, out, flags));
}

// 24 MiB in 48 expert shards: enough for something to happen in the middle.
SampleArtifactOptions LargeSample() {
  return {.name = "large", .experts = 48, .expert_bytes = 512 * kKiB, .dense_bytes = 640 * kKiB};
}

// 0 if there is none.
Bytes FileSize(const fs::path& file) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  return error ? 0 : size;
}

// What a folder takes on disk: files that are being fetched have holes.
Bytes BytesIn(const fs::path& folder) {
  constexpr Bytes kBlock = 512;
  Bytes total = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    struct stat status {};
    if (::stat(entry.path().c_str(), &status) == 0) {
      total += static_cast<Bytes>(status.st_blocks) * kBlock;
    }
  }
  return total;
}

std::size_t ExpertShards(const fs::path& folder) {
  std::size_t count = 0;
  for (const std::string& name : Entries(folder / "shards"))
    count += name.ends_with(".bin") ? 1 : 0;
  return count - 1;
}

}  // namespace

TEST(SwarmTest, APulledModelIsTheSharedOne) {
  const TempFolder temp;
  Seed seed(MoeModel());
  const fs::path out = temp.path() / "pulled";
  const nlohmann::json report = PullJson(seed.link(), out, {"--peer", seed.peer()});
  EXPECT_EQ(report["experts_there"], 24);
  EXPECT_EQ(report["failed_pieces"], 0);
  EXPECT_EQ(report["restarts"], 0);
  ExpectSameModel(MoeModel(), out);
  EXPECT_FALSE(fs::exists(out / "manifest.json.partial"));
  const std::vector<std::string> run = {"run", "MODEL", "-p", "Once", "-n", "8", "--cold"};
  const auto text_of = [&run](const fs::path& model) {
    std::vector<std::string> arguments = run;
    arguments[1] = model;
    return Output(arguments);
  };
  EXPECT_EQ(text_of(out), text_of(MoeModel()));
  // What was pulled is shared under the same link.
  Seed second(out);
  EXPECT_EQ(second.link(), seed.link());
  const ProcessResult end = second.program().End(SIGINT);
  EXPECT_EQ(end.status, kDone) << end.errors;
}

TEST(SwarmTest, ATorrentFileDoesAsALink) {
  const TempFolder temp;
  const fs::path torrent = temp.path() / "model.torrent";
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  Seed seed(model, {"--torrent", torrent, "--address", "127.0.0.1:1"});
  EXPECT_THAT(seed.link(), HasSubstr("&x.pe=127.0.0.1:1"));
  const fs::path out = temp.path() / "pulled";
  PullJson(torrent, out, {"--peer", seed.peer()});
  ExpectSameModel(model, out);
}

TEST(SwarmTest, ExpertsComeAsAskedFor) {
  const TempFolder temp;
  Seed seed(MoeModel());
  const fs::path out = temp.path() / "pulled";
  const auto pull = [&](const std::string& experts) {
    return PullJson(seed.link(), out, {"--peer", seed.peer(), "--experts", experts});
  };
  EXPECT_EQ(pull("none")["experts_there"], 0);
  EXPECT_EQ(ExpertShards(out), 0u);
  ExpectRefused(Doppler({"run", out, "-p", "x"}), kFailed, {"is missing", "'doppler pull'"});
  EXPECT_EQ(pull("25%")["experts_there"], 6);
  EXPECT_EQ(ExpertShards(out), 6u);
  // Those that are there count.
  const nlohmann::json half = pull("50%");
  EXPECT_EQ(half["experts_there"], 12);
  EXPECT_EQ(ExpertShards(out), 12u);
  const ProcessResult verify = Doppler({"verify", out});
  EXPECT_EQ(verify.status, kFailed);
  EXPECT_THAT(verify.errors, HasSubstr("12 of 25 shards"));
  // A part of the model can be fetched from a peer that has a part.
  Seed partial(out);
  const fs::path second = temp.path() / "second";
  const nlohmann::json from_partial =
      PullJson(seed.link(), second, {"--peer", partial.peer(), "--dense-only"});
  EXPECT_EQ(from_partial["experts_there"], 0);
  pull("all");
  ExpectSameModel(MoeModel(), out);
}

TEST(SwarmTest, AKilledPullGoesOnWhereItWas) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model, LargeSample());
  Seed seed(model, {"--upload-limit", "3M"});
  const fs::path out = temp.path() / "pulled";
  ProcessOptions kill;
  kill.signal = SIGKILL;
  // What is kept of a file are the pieces whose hashes have been saved, which comes after the
  // bytes: most of these lists are to be there.
  kill.signal_when = [&](const RunningProcess&) {
    return BytesIn(out) > 14 * kMiB &&
           FileSize(out / "swarm.torrent") > FileSize(model / "swarm.torrent") * 6 / 10;
  };
  std::vector<std::string> arguments = PullArguments(seed.link(), out, {"--peer", seed.peer()});
  EXPECT_EQ(Doppler(arguments, kill).signal, SIGKILL);
  const nlohmann::json report = PullJson(seed.link(), out, {"--peer", seed.peer()});
  ExpectSameModel(model, out);
  EXPECT_GT(report["found_bytes"], 4 * kMiB);
  EXPECT_LT(report["downloaded_bytes"], BytesIn(model) - 4 * kMiB);
}

TEST(SwarmTest, WhatIsOnDiskIsNotBelieved) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  Seed seed(model);
  const fs::path out = temp.path() / "pulled";
  PullJson(seed.link(), out, {"--peer", seed.peer()});
  WriteSampleFile(out / "shards/00001.bin", SampleBytes(99, 320 * kKiB));
  WriteSampleFile(out / "shards/00000.bin", SampleBytes(0, 132 * kKiB) + "longer");
  fs::resize_file(out / "tokenizer.json", 66 * kKiB);
  const nlohmann::json report = PullJson(seed.link(), out, {"--peer", seed.peer()});
  ExpectSameModel(model, out);
  EXPECT_GE(report["downloaded_bytes"], 320 * kKiB);
  EXPECT_LT(report["downloaded_bytes"], 500 * kKiB);
}

TEST(SwarmTest, AnotherSwarmProcessIsStartedWhenOneDies) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model, LargeSample());
  Seed seed(model, {"--upload-limit", "6M"});
  const fs::path out = temp.path() / "pulled";
  bool killed = false;
  ProcessOptions options;
  options.signal_when = [&](const RunningProcess& process) {
    if (!killed && BytesIn(out) > 8 * kMiB) {
      for (const pid_t child : ChildrenOf(process.id)) killed = ::kill(child, SIGKILL) == 0;
    }
    return false;
  };
  const ProcessResult result =
      Doppler(PullArguments(seed.link(), out, {"--peer", seed.peer()}), options);
  EXPECT_EQ(result.status, kDone) << result.errors;
  EXPECT_TRUE(killed);
  EXPECT_THAT(result.errors, HasSubstr("was ended by signal 9; starting another"));
  EXPECT_EQ(nlohmann::json::parse(result.output)["restarts"], 1);
  ExpectSameModel(model, out);
  // The seed's too: it serves again on the same port.
  for (const pid_t child : ChildrenOf(seed.program().id())) ::kill(child, SIGKILL);
  PullJson(seed.link(), temp.path() / "second", {"--peer", seed.peer()});
  ExpectSameModel(model, temp.path() / "second");
}

TEST(SwarmTest, APeerThatLiesIsBanned) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path lies = temp.path() / "lies";
  const fs::path torrent = temp.path() / "model.torrent";
  WriteSampleArtifact(model);
  fs::copy(model, lies, fs::copy_options::recursive);
  for (const std::string& name : Entries(lies / "shards")) {
    WriteSampleFile(lies / "shards" / name,
                    SampleBytes(4711, fs::file_size(lies / "shards" / name)));
  }
  const std::uint16_t port = FreePort();
  Doppler({"share", model, "--private", "--torrent", torrent},
          {.signal = SIGINT, .signal_when = [](const RunningProcess& process) {
             return process.output.find('\n') != std::string::npos;
           }});
  BackgroundProgram liar({DOPPLER_LYING_SEED, torrent, lies});
  const std::string liar_peer = "127.0.0.1:" + liar.FirstLine();
  const std::string honest_peer = "127.0.0.1:" + std::to_string(port);
  const fs::path out = temp.path() / "pulled";
  // The honest peer comes when the liar is known, so that the liar is asked in any case.
  std::optional<Seed> honest;
  ProcessOptions options;
  options.signal_when = [&](const RunningProcess& process) {
    const bool banned = process.errors.find("sent wrong bytes") != std::string::npos;
    if (banned && !honest)
      honest.emplace(model, std::vector<std::string>{"--port", std::to_string(port)});
    return false;
  };
  const ProcessResult result =
      Doppler(PullArguments(torrent, out, {"--peer", liar_peer, "--peer", honest_peer}), options);
  ASSERT_EQ(result.status, kDone) << result.errors;
  const nlohmann::json report = nlohmann::json::parse(result.output);
  EXPECT_EQ(report["banned"], nlohmann::json({liar_peer}));
  EXPECT_GE(report["failed_pieces"], 1);
  ExpectSameModel(model, out);
}

TEST(SwarmTest, ATrackerTellsOfPeers) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  const std::uint16_t port = FreePort();
  // One that knows a single peer.
  const HttpServer tracker([port](const HttpRequest& request) {
    const std::string address = {
        127, 0, 0, 1, static_cast<char>(port >> 8u), static_cast<char>(port & 0xffu)};
    return request.path.starts_with("/announce?info_hash=")
               ? "d8:intervali60e5:peers6:" + address + "e"
               : std::string();
  });
  const std::string url = "http://127.0.0.1:" + std::to_string(tracker.port()) + "/announce";
  Seed seed(model, {"--port", std::to_string(port)});
  const fs::path out = temp.path() / "pulled";
  PullJson(seed.link(), out, {"--tracker", url});
  ExpectSameModel(model, out);
}

TEST(SwarmTest, AWebServerIsASeed) {
  const TempFolder temp;
  const fs::path model = temp.path() / "sample";
  const fs::path torrent = temp.path() / "model.torrent";
  WriteSampleArtifact(model);
  const HttpServer mirror([&temp](const HttpRequest& request) {
    const std::string file = ReadTextFile(temp.path() / request.path.substr(1));
    return request.whole ? file : file.substr(request.begin, request.end - request.begin);
  });
  // Only its torrent is wanted.
  Seed(model, {"--torrent", torrent});
  const fs::path out = temp.path() / "pulled";
  PullJson(torrent, out, {"--web-seed", "http://127.0.0.1:" + std::to_string(mirror.port()) + "/"});
  ExpectSameModel(model, out);
}

TEST(SwarmTest, TheSwarmProcessHasNoPrivileges) {
  Seed seed(MoeModel());
  const std::vector<pid_t> children = ChildrenOf(seed.program().id());
  ASSERT_EQ(children.size(), 1u);
  std::ifstream file("/proc/" + std::to_string(children.front()) + "/status");
  const std::string status{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
  EXPECT_THAT(status, HasSubstr("CapEff:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("CapBnd:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2\n"));
}

TEST(SwarmTest, ASeedDoesNotSendADamagedShard) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  Seed seed(model);
  // After it was hashed: as when a disk fails.
  WriteSampleFile(model / "shards/00003.bin", SampleBytes(5, 320 * kKiB));
  const ProcessResult result =
      Doppler({"pull", seed.link(), "--private", "--out", temp.path() / "pulled", "--peer",
               seed.peer(), "--timeout", "3"});
  ExpectRefused(result, kFailed, {"nothing has come for 3 s"});
  EXPECT_THAT(result.errors, testing::Not(HasSubstr("wrong bytes")));
  EXPECT_THAT(seed.program().End(SIGINT).errors,
              HasSubstr("'shards/00003.bin' is damaged or gone and not sent any more"));
  // Whoever asked for it gets the rest.
  for (const char* const shard : {"shards/00001.bin", "shards/00002.bin", "shards/00004.bin"}) {
    EXPECT_EQ(ReadTextFile(temp.path() / "pulled" / shard), ReadTextFile(model / shard)) << shard;
  }
}

TEST(SwarmTest, RefusesLinksThatAreNone) {
  const TempFolder temp;
  const std::string hash(64, 'a');
  const auto pull = [&](const std::string& source, const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments = {"pull", source, "--out", temp.path() / "x"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return Doppler(arguments);
  };
  ExpectRefused(pull("magnet:?xt=urn:btih:" + hash.substr(24)), kFailed, {"version 2"});
  ExpectRefused(pull("magnet:?dn=x"), kFailed, {"no hash"});
  ExpectRefused(pull("magnet:?xt=urn:btmh:1220" + hash + "&dn=..%2F..%2Fetc"), kFailed,
                {"is not a model's"});
  ExpectRefused(pull(temp.path() / "none.torrent"), kFailed, {"none.torrent"});
  Overwrite(temp.path() / "bad.torrent", "d4:infodee");
  ExpectRefused(pull(temp.path() / "bad.torrent"), kFailed,
                {"bad.torrent", "version 2 alone", "get it again"});
  ExpectRefused(pull("magnet:?xt=urn:btmh:1220" + hash, {"--private", "--peer", "8.8.8.8:1"}),
                kWrongUsage, {"8.8.8.8:1", "private networks"});
  ExpectRefused(pull("magnet:?xt=urn:btmh:1220" + hash, {"--private", "--timeout", "1"}), kFailed,
                {"nothing has come for 1 s from 0 peers", "with --peer"});
  ExpectRefused(pull("model"), kFailed, {"'model' is neither a link", "nor a .torrent file"});
  ExpectRefused(pull(temp.path()), kFailed, {"nor a .torrent file"});
  ExpectRefused(pull("magnet:?xt=urn:btmh:1220" + hash, {"--peer", "host"}), kWrongUsage,
                {"'host' is not a peer's address", "HOST:PORT"});
  EXPECT_FALSE(fs::exists(temp.path() / "x/manifest.json"));
}

TEST(SwarmTest, APortThatIsTakenIsRefused) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model);
  const Seed seed(model);
  const std::string port = std::to_string(seed.port());
  const std::vector<std::string> parts = {"cannot listen on port " + port, "in use",
                                          "another with --port"};
  ExpectRefused(Doppler({"share", model, "--private", "--port", port}), kFailed, parts);
  ExpectRefused(Doppler(PullArguments(seed.link(), temp.path() / "x",
                                      {"--port", port, "--peer", seed.peer()})),
                kFailed, parts);
}

TEST(SwarmTest, AModelThatIsNotFetchedYetIsNamedSo) {
  const TempFolder temp;
  const fs::path begun = temp.path() / "begun";
  WriteSampleFile(begun / "manifest.json.partial", "{");
  const ProcessOptions store = {.environment = {{"DOPPLER_STORE", temp.path()}}};
  for (const std::string& name : {begun.string(), std::string("begun")}) {
    ExpectRefused(Doppler({"run", name, "-p", "x"}, store), kFailed,
                  {"is not fetched", "'doppler pull'"});
  }
}

TEST(SwarmTest, WhatMayNotBeReadIsNamed) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path shards = model / "shards";
  WriteSampleArtifact(model);
  ProcessOptions options;
  options.prepare = [] {
    // What lets root read everything.
    ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
    ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
  };
  const std::vector<std::string> share = {"share", model, "--private"};
  fs::permissions(shards / "00003.bin", fs::perms::none);
  ExpectRefused(Doppler(share, options), kFailed,
                {"cannot read", "00003.bin", "check its permissions"});
  fs::permissions(shards, fs::perms::none);
  ExpectRefused(Doppler({"run", model, "-p", "x", "--swarm", "--private"}, options), kFailed,
                {"cannot look at", "00000.bin", "permissions"});
  ExpectRefused(Doppler({"pull", shards / "model.torrent"}, options), kFailed,
                {"cannot open", "model.torrent", "check its permissions"});
  fs::permissions(model, fs::perms::none);
  ExpectRefused(Doppler(share, options), kFailed,
                {"cannot use", "manifest.json", "check its permissions"});
  fs::permissions(model, fs::perms::owner_all);
  fs::permissions(shards, fs::perms::owner_all);
}

TEST(SwarmTest, AFolderWithAnotherModelIsLeftAlone) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path other = temp.path() / "other";
  WriteSampleArtifact(model);
  WriteSampleArtifact(other, {.name = "other", .experts = 2});
  const std::string manifest = ReadTextFile(other / "manifest.json");
  Seed seed(model);
  ExpectRefused(Doppler(PullArguments(seed.link(), other, {"--peer", seed.peer()})), kFailed,
                {"holds another model"});
  EXPECT_EQ(ReadTextFile(other / "manifest.json"), manifest);
}

}  // namespace doppler
