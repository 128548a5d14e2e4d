#include "admin/changes.h"

#include "admin/host_index.h"
#include "base/json.h"
#include "base/log.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace proxycore::admin {

namespace {

namespace keys = host::keys;
namespace fields = host::fields;

constexpr std::string_view hidden = "***";

// What is no secret of a DNS provider; its settings are the vendor's, and most of them are.
constexpr std::string_view open_of_provider[] = {
    "id", "name", "dnsProvider", "created_by", "created_on", "updated_by", "updated_on"};

bool is_secret(std::string_view key, std::string_view field) {
  if (key.starts_with(keys::host_prefix)) return field == "basicauth_users";
  if (key.starts_with(keys::user_prefix)) return field == "password";
  if (key.starts_with(keys::auth_token_prefix)) return field == "token";
  if (key.starts_with(keys::api_token_prefix)) return field == "secret_hash";
  if (key.starts_with(keys::story_prefix)) return field == "order_key";
  if (!key.starts_with(keys::dns_provider_prefix)) return false;
  return std::find(std::begin(open_of_provider), std::end(open_of_provider), field) ==
         std::end(open_of_provider);
}

// {"ip":["10.0.0.1","10.0.0.2"],...}: null where a field was, or is, not there.
std::string differences(std::string_view key, const Record& before, const Record& after) {
  std::string text;
  base::json::Writer out(text);
  const auto value = [&](std::string_view name, const std::string* held) {
    if (held == nullptr) {
      out.null();
    } else {
      out.value(is_secret(key, name) ? hidden : std::string_view(*held));
    }
  };
  const auto note = [&](std::string_view name) {
    const std::string* was = fields::find(before, name);
    const std::string* is = fields::find(after, name);
    if (was != nullptr && is != nullptr && *was == *is) return;
    if (name == "updated_on" || name == "updated_by") return;
    out.key(name).begin_array();
    value(name, was);
    value(name, is);
    out.end_array();
  };
  out.begin_object();
  for (const auto& [name, held] : before) note(name);
  for (const auto& [name, held] : after) {
    if (fields::find(before, name) == nullptr) note(name);
  }
  out.end_object();
  return text;
}

AuditEntry entry_of(std::string_view id, const Record& record) {
  return {.id = std::string(id),
          .at_ms = fields::time_stamp(record, "at").value_or(0),
          .who = fields::text(record, "who"),
          .how = fields::text(record, "how"),
          .what = fields::text(record, "what"),
          .key = fields::text(record, "key"),
          .changes = fields::text(record, "changes")};
}

std::string_view name_of(auth::How how) {
  constexpr std::array<std::string_view, 4> names = {"nobody", "session", "cookie", "token"};
  return names[static_cast<std::size_t>(how)];
}

}  // namespace

Record without_secrets(std::string_view key, const Record& record) {
  Record shown = record;
  for (auto& [name, value] : shown) {
    if (is_secret(key, name)) value = hidden;
  }
  return shown;
}

Changes::Changes(Store& store, HostIndex& hosts, std::function<std::int64_t()> now_ms)
    : store_(store), hosts_(hosts), now_ms_(std::move(now_ms)) {}

void Changes::record(const auth::Caller& who, std::string_view what, std::string_view key,
                     const Record& before, const Record& after, const Deadline& by) {
  if (key.starts_with(keys::host_prefix)) {
    hosts_.apply(key.substr(keys::host_prefix.size()), after);
  }
  // Sessions of older software have the token itself for a key.
  const bool is_token = key.starts_with(keys::auth_token_prefix);
  const std::int64_t now = now_ms_();
  Owed owed{.at_ms = now,
            .entry = {{"at", std::to_string(now)},
                      {"who", who.user},
                      {"how", std::string(name_of(who.how))},
                      {"what", std::string(what)},
                      {"key", std::string(is_token ? keys::auth_token_prefix : key)},
                      {"changes", differences(key, before, after)}}};
  settle(by);
  const auto made = write(owed, false, by);
  if (made) return;
  base::log::warning("audit.owed", {{"who", who.user},
                                    {"what", std::string(what)},
                                    {"key", owed.entry.at("key")},
                                    {"why", made.error().message()}});
  const std::lock_guard lock(mutex_);
  if (owed_.size() >= max_owed) owed_.pop_front();
  owed_.push_back(std::move(owed));
}

Result<Record> Changes::record_now(const auth::Caller& who, std::string_view what,
                                   std::string_view key, const Record& before, const Deadline& by) {
  auto after = store_.get(key, by);
  record(who, what, key, before, after ? *after : before, by);
  return after;
}

Result<void> Changes::write(const Owed& owed, bool again, const Deadline& by) {
  constexpr int most_at_once = 1'000;
  Result<void> made;
  for (int number = 0; number < most_at_once; ++number) {
    const auto key = fmt::format("{}{:013}-{:03}", keys::audit_prefix, owed.at_ms, number);
    made = store_.create(key, owed.entry, kept, by);
    if (made || made.error().code != Errc::conflict) break;
    if (again && store_.get(key, by).value_or(Record{}) == owed.entry) return {};
  }
  return made;
}

void Changes::settle(const Deadline& by) {
  for (;;) {
    Owed next;
    {
      const std::lock_guard lock(mutex_);
      if (owed_.empty()) return;
      next = std::move(owed_.front());
      owed_.pop_front();
    }
    if (write(next, true, by)) continue;
    const std::lock_guard lock(mutex_);
    return owed_.push_front(std::move(next));
  }
}

Result<std::vector<AuditEntry>> Changes::list(std::string_view before, std::size_t limit,
                                              const Deadline& by) {
  settle(by);
  PX_TRY(const auto all, store_.keys(keys::audit_prefix, by));
  auto end = all.end();
  if (!before.empty()) {
    end = std::lower_bound(all.begin(), all.end(), std::string(keys::audit_prefix).append(before));
  }
  std::vector<AuditEntry> entries;
  while (end != all.begin() && entries.size() < limit) {
    --end;
    const auto record = store_.get(*end, by);
    if (!record && record.error().code == Errc::not_found) continue;
    if (!record) return record.error();
    entries.push_back(entry_of(std::string_view(*end).substr(keys::audit_prefix.size()), *record));
  }
  return entries;
}

}  // namespace proxycore::admin
