#include "dns/porkbun.h"

#include "client/url.h"
#include "dns/names.h"

#include <algorithm>
#include <cstdint>
#include <set>

#include <fmt/format.h>

namespace proxycore::dns {

namespace json = base::json;

namespace {

constexpr std::uint32_t min_ttl = 600;

// The status is 200, 400 or 403 whatever is wrong; the words tell, and the code in newer answers.
Errc meaning_of(std::string_view code, std::string_view message, std::uint16_t status) {
  const auto says = [&](std::string_view words) {
    return message.find(words) != std::string_view::npos;
  };
  if (code.find("API_KEY") != std::string_view::npos ||
      code.find("SECRETAPIKEY") != std::string_view::npos || says("Invalid API key") ||
      says("opted in to API access")) {
    return Errc::denied;
  }
  if (says("Invalid domain")) return Errc::not_found;
  const Errc plain = VendorApi::code_of(status);
  return plain == Errc::protocol ? Errc::invalid : plain;
}

std::string_view text_or_nothing(const json::Value& object, std::string_view field) {
  return object.text(field).value_or(std::string_view{});
}

}  // namespace

ProviderInfo Porkbun::describe() {
  return {.type = "PorkBun",
          .title = "Porkbun",
          .fields = {{.name = "apiKey", .label = "API key", .secret = true, .help = "pk1_..."},
                     {.name = "secretApiKey",
                      .label = "Secret API key",
                      .secret = true,
                      .help = "sk1_...; API access has to be switched on for each domain as well"}},
          .propagation = Millis{600'000},
          .interval = Millis{10'000}};
}

Porkbun::Porkbun(const Settings& settings, client::HttpClient& http, std::string base)
    : key_(settings.at("apiKey")),
      secret_(settings.at("secretApiKey")),
      api_(http, {.title = "Porkbun", .base = std::move(base), .secrets = {key_, secret_}}) {}

Result<json::Value> Porkbun::call(VendorApi::Call call, const Fields& fields, const Deadline& by) {
  call.method = "POST";
  json::Writer writer(call.body);
  writer.begin_object().field("apikey", key_).field("secretapikey", secret_);
  for (const auto& [name, value] : fields) writer.field(name, value);
  writer.end_object();
  PX_TRY(VendorApi::Answer answer, api_.send(call, by));
  if (answer.ok() && text_or_nothing(answer.json, "status") == "SUCCESS") {
    return std::move(answer.json);
  }
  const std::string_view message = text_or_nothing(answer.json, "message");
  return api_.failure(call, answer,
                      meaning_of(text_or_nothing(answer.json, "code"), message, answer.status),
                      message);
}

Result<void> Porkbun::check(const Deadline& by) {
  PX_CHECK(call({.what = "check the keys", .path = "/ping"}, {}, by));
  return {};
}

Result<std::vector<Zone>> Porkbun::zones(const Deadline& by) {
  const VendorApi::Call list{.what = "list zones", .path = "/domain/listAll"};
  std::vector<Zone> found;
  std::set<std::string, std::less<>> seen;
  // How many a page has is nowhere promised: the end is a page that tells nothing new.
  for (std::size_t start = 0, before = 1; seen.size() != before;) {
    before = seen.size();
    PX_TRY(const json::Value answer, call(list, {{"start", fmt::format("{}", start)}}, by));
    const auto rows = answer.array("domains");
    if (!rows) return api_.nonsense(list, rows.error());
    for (const json::Value& row : *rows) {
      const auto given = row.text("domain");
      if (!given) return api_.nonsense(list, given.error());
      std::string name = canonical_name(*given);
      if (name.empty() || !seen.insert(name).second) continue;
      if (found.size() == VendorApi::max_zones) {
        return api_.nonsense(list, {Errc::limit, "too many zones"});
      }
      found.push_back({.name = std::move(name)});
    }
    start += rows->size();
  }
  return found;
}

Result<std::string> Porkbun::add(const Zone& zone, const Txt& record, const Deadline& by) {
  const VendorApi::Call create{
      .what = "add record",
      .path = fmt::format("/dns/create/{}", client::percent_encoded(zone.name))};
  const auto added = call(create,
                          {{"type", "TXT"},
                           {"name", record.name == apex ? std::string{} : record.name},
                           {"content", record.value},
                           {"ttl", fmt::format("{}", std::max(record.ttl, min_ttl))}},
                          by);
  if (added) {
    std::string id = id_text(added->find("id"));
    if (id.empty()) return api_.nonsense(create, {Errc::protocol, "the new record has no id"});
    return id;
  }
  // A value that is there already is refused in words that may mean anything: look whether it is.
  const Errc code = added.error().code;
  if (code != Errc::invalid && code != Errc::conflict) return added.error();
  PX_TRY(const std::vector<Kept> there, records(zone, record, by));
  const auto ours =
      std::find_if(there.begin(), there.end(), [](const Kept& kept) { return kept.ours; });
  if (ours == there.end()) return added.error();
  return ours->id;
}

Result<std::vector<Porkbun::Kept>> Porkbun::records(const Zone& zone, const Txt& record,
                                                    const Deadline& by) {
  const VendorApi::Call list{
      .what = "list records",
      .path = fmt::format("/dns/retrieve/{}", client::percent_encoded(zone.name))};
  PX_TRY(const json::Value answer, call(list, {}, by));
  const auto rows = answer.array("records");
  if (!rows) return api_.nonsense(list, rows.error());
  const std::string name = whole_name(zone.name, record.name);
  std::vector<Kept> found;
  for (const json::Value& row : *rows) {
    std::string id = id_text(row.find("id"));
    if (id.empty()) return api_.nonsense(list, {Errc::protocol, "a record has no id"});
    found.push_back({.id = std::move(id),
                     .ours = text_or_nothing(row, "type") == "TXT" &&
                             canonical_name(text_or_nothing(row, "name")) == name &&
                             is_value(text_or_nothing(row, "content"), record.value)});
  }
  return found;
}

Result<void> Porkbun::remove(const Zone& zone, const Txt& record, std::string_view id,
                             const Deadline& by) {
  if (!id.empty()) return remove_id(zone, record, id, by);
  PX_TRY(const std::vector<Kept> there, records(zone, record, by));
  for (const Kept& kept : there) {
    if (kept.ours) PX_CHECK(remove_id(zone, record, kept.id, by));
  }
  return {};
}

Result<void> Porkbun::remove_id(const Zone& zone, const Txt& record, std::string_view id,
                                const Deadline& by) {
  const auto removed =
      call({.what = "remove record",
            .path = fmt::format("/dns/delete/{}/{}", client::percent_encoded(zone.name),
                                client::percent_encoded(id))},
           {}, by);
  if (removed) return {};
  const Errc code = removed.error().code;
  if (code != Errc::invalid && code != Errc::not_found) return removed.error();
  // One that is gone is refused like one that cannot be removed: look whether it is there.
  PX_TRY(const std::vector<Kept> there, records(zone, record, by));
  const bool still =
      std::any_of(there.begin(), there.end(), [&](const Kept& kept) { return kept.id == id; });
  if (still) return removed.error();
  return {};
}

}  // namespace proxycore::dns
