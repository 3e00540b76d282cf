// Any bytes as a .torrent file, an info dictionary and a link: refused, or values that are written
// as they are read. And as a peer's message with a piece of an info dictionary: refused, or taken.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "swarm/info_fetch.h"
#include "swarm/link.h"
#include "swarm/torrent.h"
#include "swarm/torrent_rules.h"

namespace {

using doppler::Error;

void CheckTorrent(const std::string& text) {
  try {
    const doppler::Torrent torrent = doppler::ParseTorrent(text, "fuzz");
    const std::string written = doppler::WriteTorrent(torrent);
    DOPPLER_CHECK(doppler::WriteTorrent(doppler::ParseTorrent(written, "again")) == written);
    for (const doppler::TorrentFile& file : torrent.files) {
      DOPPLER_CHECK(doppler::IsShardPath(file.path) || doppler::IsTextPath(file.path));
    }
  } catch (const Error&) {
  }
}

void CheckInfo(const std::string& text) {
  try {
    const doppler::Torrent torrent = doppler::ParseInfoDict(text, "fuzz");
    // One torrent has one text, so that its hash is that of what was read.
    DOPPLER_CHECK(doppler::InfoDict(torrent) == text);
  } catch (const Error&) {
  }
}

void CheckLink(const std::string& text) {
  try {
    const std::string written = doppler::FormatLink(doppler::ParseLink(text));
    DOPPLER_CHECK(doppler::FormatLink(doppler::ParseLink(written)) == written);
  } catch (const Error&) {
  }
}

void CheckInfoMessage(const std::string& text) {
  constexpr std::size_t kTold = 1000;
  doppler::InfoFetch fetch;
  fetch.Begin(2, kTold);
  fetch.NextRequest();
  try {
    fetch.Take(text);
  } catch (const Error&) {
  }
  DOPPLER_CHECK(fetch.bytes() == 0 || fetch.IsComplete());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  CheckTorrent(text);
  CheckInfo(text);
  CheckLink(text);
  CheckInfoMessage(text);
  return 0;
}
