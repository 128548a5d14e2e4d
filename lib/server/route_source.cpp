#include "server/route_source.h"

#include "base/log.h"
#include "host/host_record.h"
#include "host/keys.h"

#include <unordered_set>
#include <utility>

namespace proxycore::server {

namespace {
// A store full of broken records must not fill the disk with their descriptions.
constexpr std::size_t most_told = 20;
}  // namespace

Result<void> RouteSource::declare(std::vector<Config::DeclaredHost> hosts) {
  // Checked here already: it does not depend on the store.
  host::StatsIds none(0);
  host::RouteTable::Builder trial(none);
  for (const auto& declared : hosts) PX_CHECK(trial.add(declared.host, declared.origin));
  before_ = std::exchange(declared_, std::move(hosts));
  return {};
}

std::string RouteSource::prefix() const {
  return std::string(host::keys::host_prefix);
}

Result<std::shared_ptr<const host::RouteTable>> RouteSource::build(const Deadline& by,
                                                                   Clash clash) {
  host::RouteTable::Builder builder(ids_);
  for (const auto& declared : declared_) PX_CHECK(builder.add(declared.host, declared.origin));

  const std::string place = store_.describe();
  Result<void> refused;
  std::size_t broken = 0;
  const auto tell = [&](std::string_view key, const Error& why) {
    if (++broken > most_told) return;
    base::log::warning("host.skipped",
                       {{"store", place}, {"key", std::string(key)}, {"why", why.detail}});
  };
  PX_CHECK(host::for_each_host(
      store_,
      [&](Host&& host) {
        if (!refused) return;
        auto added = builder.add(host, place);
        if (added) return;
        if (added.error().code == Errc::conflict && clash == Clash::refuse) {
          refused = std::move(added);
        } else {
          tell(host.host, added.error());
        }
      },
      tell, by));
  if (!refused) return std::move(refused).error();
  if (broken > most_told) {
    base::log::warning("host.skipped",
                       {{"store", place}, {"more", std::to_string(broken - most_told)}});
  }
  return builder.finish();
}

}  // namespace proxycore::server
