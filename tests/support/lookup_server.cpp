// lookup_server: the lookup service over a store in memory, for the end-to-end tests.
//
//   lookup_server SOCKET
//
// Reads hosts from stdin until an empty line, one a line: field=value, separated by tabs. Then says
// "ready" and serves until stdin ends. Says "hit NAME PATTERN" for what a wildcard has answered.
#include "host/host_record.h"
#include "host/keys.h"
#include "host/route_table.h"
#include "io/loop.h"
#include "lookup/socket_server.h"
#include <proxycore/store.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace {

using namespace proxycore;

class Hosts final : public lookup::Directory {
 public:
  Result<void> add(const std::string& line) {
    Record record;
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, '\t');) {
      const std::size_t equals = std::min(field.find('='), field.size());
      record[field.substr(0, equals)] = field.substr(std::min(equals + 1, field.size()));
    }
    PX_TRY(const Host host, host::host_from(record));
    PX_CHECK(builder_.add(host, "stdin"));
    return store_->put(host::keys::host(host.host), record, std::nullopt, soon());
  }
  void finish() { table_ = builder_.finish(); }

  Result<lookup::Listing> find(std::string_view name) override {
    const Route* route = table_->find(name);
    if (route == nullptr) return Error{Errc::not_found};
    PX_TRY(Record record, store_->get(host::keys::host(route->pattern), soon()));
    return lookup::Listing{route->pattern, std::move(record)};
  }
  void on_wildcard_hit(std::string_view name, const lookup::Listing& listing) override {
    std::cout << "hit " << name << ' ' << listing.pattern << std::endl;
  }

 private:
  static Deadline soon() { return Deadline::in(Millis{1'000}); }

  std::unique_ptr<Store> store_ = open_memory();
  host::StatsIds ids_{0};
  host::RouteTable::Builder builder_{ids_};
  std::shared_ptr<const host::RouteTable> table_;
};

Result<void> serve(const std::string& path) {
  Hosts hosts;
  std::string line;
  while (std::getline(std::cin, line) && !line.empty()) PX_CHECK(hosts.add(line));
  hosts.finish();
  PX_TRY(const int fd, lookup::SocketServer::listen(path, ""));
  io::Loop loop;
  lookup::ServiceCounters counters;
  const lookup::SocketServer server(loop, fd, hosts, {}, counters);
  std::cout << "ready" << std::endl;
  std::thread end([&loop] {
    for (std::string rest; std::getline(std::cin, rest);) {
    }
    loop.stop();
  });
  loop.run();
  end.join();
  return {};
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::fputs("usage: lookup_server SOCKET\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto served = serve(words[1]);
  if (served) return 0;
  std::fprintf(stderr, "lookup_server: %s\n", served.error().message().c_str());
  return 1;
}
