#include "server/route_source.h"

#include "base/log.h"
#include "host/host_record.h"
#include "host/keys.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace proxycore::server {

namespace {
// A store full of broken records must not fill the disk with their descriptions.
constexpr std::size_t most_told = 20;

void skipped(const std::string& place, std::string_view key, const Error& why) {
  base::log::warning("host.skipped",
                     {{"store", place}, {"key", std::string(key)}, {"why", why.detail}});
}
std::string_view name_in(std::string_view key) {
  return key.substr(host::keys::host_prefix.size());
}

// The canonical name, if the key has another spelling of one.
std::optional<std::string> respelled_name(std::string_view key) {
  auto canonical = HostName::canonical_pattern(name_in(key));
  if (!canonical || *canonical == name_in(key)) return std::nullopt;
  return *std::move(canonical);
}

}  // namespace

Result<void> RouteSource::declare(std::vector<Config::DeclaredHost> hosts) {
  // Checked here already: it does not depend on the store.
  host::StatsIds none(0);
  host::RouteTable::Builder trial(none);
  for (const auto& declared : hosts) {
    PX_CHECK(trial.add(declared.host, declared.origin, HostSource::file));
  }
  before_ = std::exchange(declared_, std::move(hosts));
  return {};
}

RouteSource::Table RouteSource::build_declared() {
  host::RouteTable::Builder builder(ids_);
  for (const auto& declared : declared_)
    (void)builder.add(declared.host, declared.origin, HostSource::file);  // tried
  return builder.finish(false);
}

Result<RouteSource::Table> RouteSource::build(Store& store, bool complete, const Deadline& by,
                                              Clash clash) {
  host::RouteTable::Builder builder(ids_);
  for (const auto& declared : declared_) {
    PX_CHECK(builder.add(declared.host, declared.origin, HostSource::file));
  }

  const std::string place = store.describe();
  Result<void> refused;
  std::size_t broken = 0;
  std::set<std::string, std::less<>> respelled;
  const auto tell = [&](std::string_view key, const Error& why) {
    if (auto name = respelled_name(key)) respelled.insert(*std::move(name));
    if (++broken > most_told) return;
    skipped(place, key, why);
  };
  const auto add = [&](std::string_view key, Host&& host) {
    if (name_in(key) != host.host) respelled.insert(host.host);
    if (!refused) return;
    auto added = builder.add(host, place);
    if (added) return;
    if (added.error().code == Errc::conflict && clash == Clash::refuse) {
      refused = std::move(added);
    } else {
      tell(key, added.error());
    }
  };
  PX_CHECK(host::for_each_host(store, add, tell, by));
  if (!refused) return std::move(refused).error();
  if (broken > most_told) {
    base::log::warning("host.skipped",
                       {{"store", place}, {"more", std::to_string(broken - most_told)}});
  }
  respelled_ = std::move(respelled);
  return builder.finish(complete);
}

Result<RouteSource::Table> RouteSource::update(Table before, Store& store,
                                               std::span<const std::string> keys, Broken broken,
                                               const Deadline& by) {
  const bool complete = before->complete();
  host::RouteTable::Change change(ids_, std::move(before));
  const std::string place = store.describe();
  for (const std::string& key : keys) {
    const std::string_view name = name_in(key);
    if (respelled_name(key) || respelled_.contains(name)) return Table{};
    const bool clashes = std::any_of(declared_.begin(), declared_.end(), [&](const auto& declared) {
      return declared.host.host == name;
    });
    auto record = store.get(key, by);
    const Errc failure = record ? Errc{} : record.error().code;
    const bool is_absent = !record && failure == Errc::not_found;
    // Of another type than a record, or too large.
    const bool is_broken = !record && (failure == Errc::invalid || failure == Errc::limit);
    if (!record && !is_absent && !is_broken) return std::move(record).error().within(key);
    if (clashes) {
      if (!is_absent)
        skipped(place, key, {Errc::conflict, "the configuration has a host of that name"});
      continue;
    }
    if (is_absent || (record && host::is_cache_row(*record))) {
      change.remove(name);
      continue;
    }
    auto host = record ? host::host_from(*record) : std::move(record).error();
    if (host && host->host != name) host = Error{Errc::invalid, "field 'host' is not its key's"};
    Result<void> put = host ? change.put(*host) : Result<void>(std::move(host).error());
    if (put) continue;
    skipped(place, key, put.error());
    if (broken == Broken::removed) change.remove(name);
  }
  return change.finish(complete);
}

RouteSource::Table RouteSource::redeclare(Table before) {
  const bool complete = before->complete();
  host::RouteTable::Change change(ids_, std::move(before));
  for (const auto& gone : before_) change.remove(gone.host.host);
  for (const auto& declared : declared_) {
    (void)change.put(declared.host, HostSource::file);  // tried
  }
  return change.finish(complete);
}

RouteSource::Table RouteSource::with_complete(Table before, bool complete) {
  return host::RouteTable::Change(ids_, std::move(before)).finish(complete);
}

}  // namespace proxycore::server
