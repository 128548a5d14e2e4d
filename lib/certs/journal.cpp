#include "certs/journal.h"

#include "base/log.h"
#include "base/text.h"
#include "dns/names.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>

namespace proxycore::certs {

namespace {

namespace fields = host::fields;
namespace keys = host::keys;
namespace log = base::log;

namespace field {
constexpr std::string_view provider = "provider";
constexpr std::string_view zone = "zone";
constexpr std::string_view zone_id = "zone_id";
constexpr std::string_view name = "name";
constexpr std::string_view value = "value";
constexpr std::string_view owner = "owner";
constexpr std::string_view since = "since";
constexpr std::string_view failures = "failures";
constexpr std::string_view next = "next";
}  // namespace field

constexpr std::array required = {field::provider, field::zone,  field::name,
                                 field::value,    field::owner, field::since};
constexpr std::int64_t first_pause = 60'000;
constexpr Millis tidying{10'000};  // for erasing an entry, when nobody waits for it
constexpr std::int64_t most_failures = 1'000;

// An entry as it is kept.
struct Kept {
  acme::DnsRecord made;
  std::string owner;          // the certificate that it is for
  std::int64_t since = 0;     // milliseconds since 1970
  std::int64_t failures = 0;  // to remove it
  std::int64_t next = 0;      // when that is tried again, milliseconds since 1970
};

Record record_of(const Kept& kept) {
  Record record;
  const auto set = [&record](std::string_view name, const std::string& text) {
    if (!text.empty()) record.insert_or_assign(std::string(name), text);
  };
  set(field::provider, kept.made.account);
  set(field::zone, kept.made.zone.name);
  set(field::zone_id, kept.made.zone.id);
  set(field::name, kept.made.record.name);
  set(field::value, kept.made.record.value);
  set(field::owner, kept.owner);
  set(field::since, std::to_string(kept.since));
  if (kept.failures > 0) {
    set(field::failures, std::to_string(kept.failures));
    set(field::next, std::to_string(kept.next));
  }
  return record;
}

Result<Kept> from(const Record& record) {
  PX_CHECK(fields::require(record, required));
  Kept kept;
  kept.made.account = fields::text(record, field::provider);
  kept.made.zone = {fields::text(record, field::zone), fields::text(record, field::zone_id)};
  kept.made.record.name = fields::text(record, field::name);
  kept.made.record.value = fields::text(record, field::value);
  kept.owner = fields::text(record, field::owner);
  PX_TRY(const auto since, fields::whole(record, field::since, 0, fields::max_time));
  PX_TRY(const auto failures, fields::whole(record, field::failures, 0, most_failures));
  PX_TRY(const auto next, fields::whole(record, field::next, 0, fields::max_time));
  kept.since = since.value_or(0);
  kept.failures = failures.value_or(0);
  kept.next = next.value_or(0);
  return kept;
}

std::string key_of(const acme::DnsRecord& made) {
  return keys::txt(made.zone.name, made.record.name, made.record.value);
}

// Whether a time of an entry is still to come; one that a clock set back has put far away is not.
bool is_ahead(std::int64_t time, std::int64_t now, Millis at_most) {
  return time > now && time - now <= at_most.count();
}

std::int64_t pause_after(std::int64_t failures, std::uint32_t retry_after_s) {
  const std::int64_t doubled = first_pause << std::min<std::int64_t>(failures - 1, 20);
  const std::int64_t asked = std::int64_t{retry_after_s} * 1000;
  return std::min<std::int64_t>(std::max(doubled, asked), Journal::longest_pause.count());
}

// Whether there is no use in asking the same provider for its other records now.
bool is_out_of_order(Errc code) {
  return code != Errc::not_found && code != Errc::invalid && code != Errc::conflict &&
         code != Errc::protocol;
}

Result<void> take_away(Providers& providers, const acme::DnsRecord& made, const Deadline& by) {
  const auto own = providers.provider(made.account, by);
  if (own) return (*own)->remove(made.zone, made.record, {}, by);
  if (own.error().code != Errc::not_found) return own.error();
  // The account was removed, and maybe entered again since.
  const auto now = providers.find(made.zone.name, by);
  if (!now || now->zone.name != made.zone.name) return own.error();
  return now->provider->remove(now->zone, made.record, {}, by);
}

}  // namespace

Result<void> Journal::add(const acme::DnsRecord& record, std::string_view owner,
                          const Deadline& by) {
  const Kept kept{.made = record, .owner = std::string(owner), .since = now_ms_()};
  return store_.put(key_of(record), record_of(kept), std::nullopt, by);
}

Result<void> Journal::done(const acme::DnsRecord& record, const Deadline& by) {
  PX_CHECK(store_.erase(key_of(record), by));
  return {};
}

void JournalOf::done(const acme::DnsRecord& record) {
  const auto erased = journal_.done(record, Deadline::in(tidying));
  if (erased) return;
  log::warning("dns.journal", {{"certificate", owner_}, {"why", erased.error().message()}});
}

Result<Journal::Swept> Journal::sweep(Providers& providers,
                                      const std::function<bool(std::string_view owner)>& is_working,
                                      const Deadline& by) {
  Swept swept;
  std::set<std::string, std::less<>> out_of_order;  // accounts
  PX_TRY(const auto all, store_.keys(keys::txt_prefix, by));
  for (const std::string& key : all) {
    // Not all at once before: meanwhile it may be done, or be needed again.
    const auto record = store_.get(key, by);
    if (!record && record.error().code == Errc::not_found) continue;
    if (!record) return record.error();
    auto read = from(*record);
    if (!read) {
      log::warning("dns.journal_broken", {{"key", key}, {"why", read.error().message()}});
      PX_CHECK(store_.erase(key, by));
      ++swept.dropped;
      continue;
    }
    Kept& kept = *read;
    const std::int64_t now = now_ms_();
    if (is_ahead(kept.since + young.count(), now, young) ||
        is_ahead(kept.next, now, longest_pause) || is_working(kept.owner) ||
        out_of_order.contains(kept.made.account)) {
      ++swept.waiting;
      continue;
    }
    const Deadline soon(std::min(by.at(), Deadline::in(one_removal).at()), by.stop());
    const auto gone = take_away(providers, kept.made, soon);
    if (by.cancelled()) return Error{Errc::cancelled, "sweep"};
    if (by.passed()) return Error{Errc::timeout, "sweep"};
    // Whoever has put the same record there meanwhile has an entry of a later time.
    const auto unchanged = [&record](const Record& there) { return there == *record; };
    if (gone) {
      PX_CHECK(store_.erase_if(key, unchanged, by));
      ++swept.removed;
      continue;
    }
    const std::string whole = dns::whole_name(kept.made.zone.name, kept.made.record.name);
    if (now - kept.since > give_up_after.count()) {
      log::error(
          "dns.record_left",
          {{"name", whole}, {"value", kept.made.record.value}, {"why", gone.error().message()}});
      PX_CHECK(store_.erase_if(key, unchanged, by));
      ++swept.dropped;
      continue;
    }
    if (is_out_of_order(gone.error().code)) out_of_order.insert(kept.made.account);
    kept.failures = std::min(kept.failures + 1, most_failures);
    kept.next = now + pause_after(kept.failures, gone.error().retry_after_s);
    log::warning("dns.record_not_removed", {{"name", whole},
                                            {"provider", kept.made.account},
                                            {"again", base::iso_date(kept.next)},
                                            {"why", gone.error().message()}});
    const auto later = [&](const Record& there) -> Result<Record> {
      return unchanged(there) ? record_of(kept) : there;
    };
    // Invalid: it is done meanwhile, and there is nothing to keep.
    if (auto put = store_.update(key, later, Life::as_before, by);
        !put && put.error().code != Errc::invalid) {
      return std::move(put).error();
    }
    ++swept.waiting;
  }
  return swept;
}

}  // namespace proxycore::certs
