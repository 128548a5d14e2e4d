#include "server/lookup_service.h"

#include "host/host_record.h"
#include "host/keys.h"

#include <future>
#include <utility>

namespace proxycore::server {

namespace {

// A store on this machine takes a fraction of that.
constexpr Millis record_limit{50};

// What is told of a host that has no record.
Record record_of(const Route& route) {
  Host host;
  host.host = route.pattern;
  host.ip = route.targets.front().name;
  host.target_port = route.targets.front().port;
  for (std::size_t i = 1; i < route.targets.size(); ++i) {
    host.targets.push_back(route.targets[i].text());
  }
  host.forcessl = route.forcessl;
  host.hsts = route.hsts;
  host.targetssl = route.tls != nullptr;
  if (route.tls) {
    host.target_verify = route.tls->verify;
    host.target_server_name = route.tls->server_name;
  }
  host.pass_host = route.pass_host;
  const auto time = [](Millis span) {
    return span.count() != 0 ? std::optional<Millis>(span) : std::nullopt;
  };
  host.connect_timeout = time(route.connect_timeout);
  host.first_byte_timeout = time(route.first_byte_timeout);
  host.idle_timeout = time(route.idle_timeout);
  return host::record_of(host);
}

// Whether that is the record of which the route was made: a copy on disk follows a little later.
bool is_of(const Route& route, const Record& record) {
  if (host::is_cache_row(record)) return false;
  const auto host = host::host_from(record);
  auto made = host ? host::route_of(*host) : Result<Route>(host.error());
  if (!made) return false;
  made->stats_id = route.stats_id;
  return *made == route;
}

}  // namespace

LookupService::LookupService(int fd, const base::Snapshot<host::RouteTable>& table, Store* records,
                             WildcardCache* cache)
    : table_(table), records_(records), cache_(cache) {
  // The loop and the server are made and end on their thread.
  std::promise<void> ready;
  auto started = ready.get_future();
  thread_ = std::thread([this, fd, &ready] {
    io::Loop loop;
    lookup::SocketServer server(loop, fd, *this, {}, counters_);
    loop_ = &loop;
    ready.set_value();
    loop.run();
  });
  started.wait();
}

LookupService::~LookupService() {
  loop_->stop();
  thread_.join();
}

Result<lookup::Listing> LookupService::find(std::string_view name) {
  const auto table = table_.current();
  const Route* route = table ? table->find(name) : nullptr;
  if (route == nullptr) {
    const bool knows_all = table && table->complete();
    return knows_all ? Error{Errc::not_found} : Error{Errc::busy, "not all hosts are known now"};
  }
  if (records_ != nullptr) {
    auto record = records_->get(host::keys::host(route->pattern), Deadline::in(record_limit));
    if (record && is_of(*route, *record)) {
      return lookup::Listing{route->pattern, *std::move(record)};
    }
  }
  return lookup::Listing{route->pattern, record_of(*route)};
}

void LookupService::on_wildcard_hit(std::string_view name, const lookup::Listing& listing) {
  if (cache_ != nullptr) cache_->hit(name, listing.pattern);
}

}  // namespace proxycore::server
