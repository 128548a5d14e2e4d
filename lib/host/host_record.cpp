#include "host/host_record.h"

#include "base/clock.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <array>
#include <set>
#include <utility>
#include <vector>

namespace proxycore {

namespace host {

namespace {

using namespace fields;

namespace field {
constexpr std::string_view host = "host";
constexpr std::string_view ip = "ip";
constexpr std::string_view target_port = "targetPort";
constexpr std::string_view targets = "targets";
constexpr std::string_view forcessl = "forcessl";
constexpr std::string_view hsts = "hsts_enabled";
constexpr std::string_view targetssl = "targetssl";
constexpr std::string_view target_verify = "targetVerify";
constexpr std::string_view target_server_name = "targetServerName";
constexpr std::string_view challenge_type = "challengeType";
constexpr std::string_view pass_host = "host-pass-though";
constexpr std::string_view connect_timeout = "connectTimeout";
constexpr std::string_view first_byte_timeout = "firstByteTimeout";
constexpr std::string_view idle_timeout = "idleTimeout";
constexpr std::string_view is_cache = "is_cache";
constexpr std::string_view is_wildcard = "is_wildcard";
constexpr std::string_view wildcard_parent = "wildcard_parent";
constexpr std::string_view created_by = "created_by";
constexpr std::string_view updated_by = "updated_by";
constexpr std::string_view created_on = "created_on";
constexpr std::string_view updated_on = "updated_on";
}  // namespace field

constexpr std::string_view known_fields[] = {field::host,
                                             field::ip,
                                             field::target_port,
                                             field::targets,
                                             field::forcessl,
                                             field::hsts,
                                             field::targetssl,
                                             field::target_verify,
                                             field::target_server_name,
                                             field::challenge_type,
                                             field::pass_host,
                                             field::connect_timeout,
                                             field::idle_timeout,
                                             field::first_byte_timeout,
                                             field::is_cache,
                                             field::is_wildcard,
                                             field::wildcard_parent,
                                             field::created_by,
                                             field::updated_by,
                                             field::created_on,
                                             field::updated_on};

Result<std::optional<Millis>> timeout(const Record& record, std::string_view name) {
  PX_TRY(const auto number, whole(record, name, 1, max_time));
  return number ? std::optional<Millis>(*number) : std::nullopt;
}

TargetVerify verify(const Record& record) {
  if (find(record, field::target_verify) == nullptr) return TargetVerify::unset;
  return boolean(record, field::target_verify, true) ? TargetVerify::yes : TargetVerify::no;
}

}  // namespace

bool is_cache_row(const Record& record) {
  return boolean(record, field::is_cache, false);
}

Result<Host> host_from(const Record& record) {
  constexpr std::array required = {field::host, field::ip, field::target_port};
  PX_CHECK(require(record, required));

  Host host;
  host.host = *find(record, field::host);
  host.ip = *find(record, field::ip);
  PX_TRY(const auto port, whole(record, field::target_port, 1, 65535));
  host.target_port = static_cast<std::uint16_t>(port.value_or(0));
  PX_TRY(host.targets, texts(record, field::targets));
  host.forcessl = boolean(record, field::forcessl, host.forcessl);
  host.targetssl = boolean(record, field::targetssl, host.targetssl);
  host.hsts = boolean(record, field::hsts, host.hsts);
  host.target_verify = verify(record);
  if (const std::string* name = find(record, field::target_server_name)) {
    host.target_server_name = *name;
  }
  if (const std::string* type = find(record, field::challenge_type)) host.challenge_type = *type;
  host.pass_host = boolean(record, field::pass_host, host.pass_host);
  PX_TRY(host.connect_timeout, timeout(record, field::connect_timeout));
  PX_TRY(host.first_byte_timeout, timeout(record, field::first_byte_timeout));
  PX_TRY(host.idle_timeout, timeout(record, field::idle_timeout));
  host.is_cache = is_cache_row(record);
  host.is_wildcard = boolean(record, field::is_wildcard, host.is_wildcard);
  if (const std::string* parent = find(record, field::wildcard_parent)) {
    host.wildcard_parent = *parent;
  }
  host.created_by = user(record, field::created_by);
  host.updated_by = user(record, field::updated_by);
  host.created_on = time_stamp(record, field::created_on);
  host.updated_on = time_stamp(record, field::updated_on);
  PX_CHECK(host.validate());
  return host;
}

Record record_of(const Host& host) {
  Record record;
  const auto set = [&record](std::string_view name, std::string value) {
    record.insert_or_assign(std::string(name), std::move(value));
  };
  const auto set_number = [&set](std::string_view name, const auto& value) {
    if (value) set(name, std::to_string(*value));
  };
  const auto set_timeout = [&set](std::string_view name, const std::optional<Millis>& value) {
    if (value) set(name, std::to_string(value->count()));
  };
  set(field::host, host.host);
  set(field::ip, host.ip);
  set(field::target_port, std::to_string(host.target_port));
  if (!host.targets.empty()) set(field::targets, spelled(host.targets));
  set(field::forcessl, spelled(host.forcessl));
  set(field::targetssl, spelled(host.targetssl));
  if (host.hsts) set(field::hsts, spelled(true));
  if (host.target_verify != TargetVerify::unset) {
    set(field::target_verify, spelled(host.target_verify == TargetVerify::yes));
  }
  if (!host.target_server_name.empty()) set(field::target_server_name, host.target_server_name);
  if (!host.challenge_type.empty()) set(field::challenge_type, host.challenge_type);
  if (!host.pass_host) set(field::pass_host, spelled(false));
  set_timeout(field::connect_timeout, host.connect_timeout);
  set_timeout(field::first_byte_timeout, host.first_byte_timeout);
  set_timeout(field::idle_timeout, host.idle_timeout);
  set(field::is_cache, spelled(host.is_cache));
  set(field::is_wildcard, spelled(host.is_wildcard));
  if (!host.wildcard_parent.empty()) set(field::wildcard_parent, host.wildcard_parent);
  if (!host.created_by.empty()) set(field::created_by, host.created_by);
  set(field::updated_by, host.updated_by.empty() ? std::string(nobody) : host.updated_by);
  set_number(field::created_on, host.created_on);
  set_number(field::updated_on, host.updated_on);
  return record;
}

Record record_after(const Record& before, Host host, std::int64_t now_ms) {
  Record record;
  // A wildcard hit that was written back gives way to a host of its own, and leaves nothing.
  if (!before.empty() && is_cache_row(before) == host.is_cache) {
    if (host.created_by.empty()) host.created_by = user(before, field::created_by);
    if (!host.created_on) host.created_on = time_stamp(before, field::created_on);
    record = before;
    for (const std::string_view name : known_fields) record.erase(std::string(name));
  }
  host.updated_on = now_ms;
  if (!host.created_on) host.created_on = host.updated_on;
  record.merge(record_of(host));
  return record;
}

Result<void> for_each_host(Store& store,
                           const std::function<void(std::string_view key, Host&& host)>& each,
                           const std::function<void(std::string_view key, const Error&)>& broken,
                           const Deadline& by) {
  struct Respelled {
    std::string key;
    Host host;
  };
  std::vector<Respelled> respelled;
  const auto take = [&](std::string_view key, Record&& record) {
    if (is_cache_row(record)) return;
    auto host = host_from(record);
    if (!host) return broken(key, host.error());
    if (key == keys::host(host->host)) return each(key, *std::move(host));
    const auto name = HostName::canonical_pattern(key.substr(keys::host_prefix.size()));
    if (!name || *name != host->host) {
      return broken(key, field_error(field::host, base::shown(host->host) + " is not its key's"));
    }
    respelled.push_back({std::string(key), *std::move(host)});
  };
  PX_CHECK(store.scan(keys::host_prefix, take, by));

  std::set<std::string> taken;
  for (Respelled& next : respelled) {
    const auto other = store.get(keys::host(next.host.host), by);
    if (!other && other.error().code != Errc::not_found) return other.error();
    const bool is_cached = other && is_cache_row(*other);
    if ((other && !is_cached) || !taken.insert(next.host.host).second) {
      broken(next.key, field_error(field::host, base::shown(next.host.host) +
                                                    " has a record in another spelling"));
      continue;
    }
    each(next.key, std::move(next.host));
  }
  return {};
}

}  // namespace host

using namespace host;

namespace {

// The keys a name may have: the canonical one, and the name's own spelling if it is another.
Result<std::vector<std::string>> keys_of(std::string_view host) {
  PX_TRY(const std::string canonical, HostName::canonical_pattern(host));
  std::vector<std::string> keys = {keys::host(canonical)};
  if (canonical != host) keys.push_back(keys::host(host));
  return keys;
}

}  // namespace

Result<void> save(Store& store, const Host& host, const Deadline& by) {
  Host wanted = host;
  PX_CHECK(wanted.validate());
  const auto change = [&wanted](const Record& before) -> Result<Record> {
    return record_after(before, wanted, base::now_ms());
  };
  return store.update(keys::host(wanted.host), change, Life::for_ever, by);
}

Result<bool> remove_host(Store& store, std::string_view host, const Deadline& by) {
  PX_TRY(const auto keys, keys_of(host));
  bool removed = false;
  for (const std::string& key : keys) {
    PX_TRY(const bool was_there, store.erase(key, by));
    removed = removed || was_there;
  }
  return removed;
}

Result<Host> load_host(Store& store, std::string_view host, const Deadline& by) {
  PX_TRY(const auto keys, keys_of(host));
  for (const std::string& key : keys) {
    const auto record = store.get(key, by);
    if (!record && record.error().code == Errc::not_found) continue;
    if (!record) return record.error();
    auto loaded = host_from(*record);
    if (!loaded) return std::move(loaded).error().within(key);
    return loaded;
  }
  return Error{Errc::not_found, "no host " + base::shown(host)};
}

}  // namespace proxycore
