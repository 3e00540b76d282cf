// lying_seed TORRENT FOLDER: says that it has all of a torrent and sends whatever stands in FOLDER,
// unchecked. Prints its port and runs until it is killed.
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/posix_disk_io.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>

namespace lt = libtorrent;

namespace {

lt::session_params Parameters() {
  using Pack = lt::settings_pack;
  Pack pack;
  pack.set_str(Pack::listen_interfaces, "127.0.0.1:0");
  pack.set_bool(Pack::enable_dht, false);
  pack.set_bool(Pack::enable_lsd, false);
  pack.set_bool(Pack::enable_upnp, false);
  pack.set_bool(Pack::enable_natpmp, false);
  pack.set_int(Pack::alert_mask, lt::alert_category::status);
  pack.set_bool(Pack::disable_hash_checks, true);
  pack.set_bool(Pack::allow_multiple_connections_per_ip, true);
  lt::session_params parameters(pack);
  parameters.disk_io_constructor = lt::posix_disk_io_constructor;
  return parameters;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  lt::add_torrent_params torrent;
  torrent.ti = std::make_shared<lt::torrent_info>(std::string(argv[1]));
  torrent.save_path = argv[2];
  torrent.flags = lt::torrent_flags::seed_mode;
  for (const lt::file_index_t file : torrent.ti->files().file_range()) {
    const std::string path = torrent.ti->files().file_path(file);
    torrent.renamed_files[file] = path.substr(path.find('/') + 1);
  }
  lt::session session(Parameters());
  session.add_torrent(torrent);
  for (;;) {
    session.wait_for_alert(std::chrono::seconds(1));
    std::vector<lt::alert*> alerts;
    session.pop_alerts(&alerts);
    for (const lt::alert* alert : alerts) {
      const auto* listen = lt::alert_cast<lt::listen_succeeded_alert>(alert);
      if (listen == nullptr || listen->socket_type != lt::socket_type_t::tcp) continue;
      std::printf("%d\n", listen->port);
      std::fflush(stdout);
    }
  }
}
