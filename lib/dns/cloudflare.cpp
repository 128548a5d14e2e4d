#include "dns/cloudflare.h"

#include "client/url.h"
#include "dns/names.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace json = base::json;

namespace {

constexpr int zones_per_page = 50;  // the most that are given
constexpr int records_per_page = 100;
constexpr std::uint32_t min_ttl = 60;
constexpr std::uint32_t max_ttl = 86'400;

struct Meaning {
  std::int64_t number;
  Errc code;
};
// Cloudflare's numbers that say more than the status that comes with them.
constexpr std::array meanings = {
    Meaning{1000, Errc::denied},      // no such token
    Meaning{6003, Errc::denied},      // a header, which is the token, is malformed: 400
    Meaning{6111, Errc::denied},      // the same, as its cause
    Meaning{9106, Errc::denied},      // no credentials: 400
    Meaning{9109, Errc::denied},      // not for this zone
    Meaning{10000, Errc::denied},     // authentication, or not for this call
    Meaning{7003, Errc::not_found},   // no such zone: 400
    Meaning{81044, Errc::not_found},  // no such record
    Meaning{81045, Errc::limit},      // too many records
    Meaning{81053, Errc::conflict},   // an address or a CNAME has that name
    Meaning{81054, Errc::conflict},   // a CNAME has that name
    Meaning{81057, Errc::conflict},   // the record is there
    Meaning{81058, Errc::conflict},   // the very same record is there
};

// What an answer complains about: its errors and, a level down, their causes.
struct Complaints {
  std::string words;
  std::optional<Errc> code;
};

void collect(const json::Value& errors, Complaints& into, int depth) {
  const auto list = errors.array();
  if (!list) return;
  for (const json::Value& error : *list) {
    const auto number = error.integer("code");
    const auto message = error.text("message");
    if (!into.words.empty()) into.words += depth == 0 ? "; " : ": ";
    into.words += message.value_or(std::string_view{"no explanation"});
    if (number) {
      into.words += fmt::format(" ({})", *number);
      const auto* known =
          std::find_if(meanings.begin(), meanings.end(),
                       [&](const Meaning& meaning) { return meaning.number == *number; });
      if (known != meanings.end() && !into.code) into.code = known->code;
    }
    const json::Value* causes = error.find("error_chain");
    if (causes != nullptr && depth == 0) collect(*causes, into, depth + 1);
  }
}

Complaints complaints_of(const json::Value& envelope) {
  Complaints found;
  if (const json::Value* errors = envelope.find("errors")) collect(*errors, found, 0);
  return found;
}

std::string_view text_or_nothing(const json::Value& object, std::string_view field) {
  return object.text(field).value_or(std::string_view{});
}

}  // namespace

ProviderInfo Cloudflare::describe() {
  return {.type = "Cloudflare",
          .title = "Cloudflare",
          .fields = {{.name = "token",
                      .label = "API token",
                      .secret = true,
                      .help = "an API token with Zone:Read and DNS:Edit for the zones"}}};
}

Cloudflare::Cloudflare(const Settings& settings, client::HttpClient& http, std::string base)
    : api_(http, {.title = "Cloudflare",
                  .base = std::move(base),
                  .headers = {{"Authorization", "Bearer " + settings.at("token")}},
                  .secrets = {settings.at("token")}}) {}

Result<json::Value> Cloudflare::call(const VendorApi::Call& call, const Deadline& by) {
  PX_TRY(VendorApi::Answer answer, api_.send(call, by));
  if (answer.ok() && answer.json.boolean("success").value_or(false)) return std::move(answer.json);
  const Complaints complaints = complaints_of(answer.json);
  return api_.failure(call, answer, complaints.code.value_or(VendorApi::code_of(answer.status)),
                      complaints.words);
}

Result<void> Cloudflare::each_row(VendorApi::Call call, int per_page, const Rows& row,
                                  const Deadline& by) {
  const std::string path = std::move(call.path);
  for (int page = 1; page <= VendorApi::max_pages; ++page) {
    call.path = fmt::format("{}page={}&per_page={}", path, page, per_page);
    PX_TRY(const json::Value envelope, this->call(call, by));
    const auto rows = envelope.array("result");
    if (!rows) return api_.nonsense(call, rows.error());
    for (const json::Value& each : *rows) {
      if (const auto read = row(each); !read) return api_.nonsense(call, read.error());
    }
    const json::Value* counts = envelope.find("result_info");
    const auto pages = counts == nullptr ? Error{} : counts->integer("total_pages");
    const bool last = pages ? page >= *pages : rows->size() < static_cast<std::size_t>(per_page);
    if (rows->empty() || last) return {};
  }
  return Error{Errc::limit, "Cloudflare: too many pages"};
}

Result<void> Cloudflare::check(const Deadline& by) {
  PX_TRY(const std::vector<Zone> found, zones(by));
  // A token without Zone:Read is no error to Cloudflare: it just has no zones.
  if (found.empty()) {
    return Error{Errc::denied,
                 "Cloudflare: the token is accepted but reaches no active zone: it needs Zone:Read "
                 "and DNS:Edit for one"};
  }
  return {};
}

Result<std::vector<Zone>> Cloudflare::zones(const Deadline& by) {
  std::vector<Zone> found;
  const Rows row = [&](const json::Value& zone) -> Result<void> {
    PX_TRY(const std::string_view id, zone.text("id"));
    PX_TRY(const std::string_view given, zone.text("name"));
    const std::string_view status = text_or_nothing(zone, "status");
    std::string name = canonical_name(given);
    if (name.empty() || !(status.empty() || status == "active")) return {};
    if (found.size() == VendorApi::max_zones) return Error{Errc::limit, "too many zones"};
    found.push_back({.name = std::move(name), .id = std::string{id}});
    return {};
  };
  PX_CHECK(each_row({.what = "list zones", .path = "/zones?"}, zones_per_page, row, by));
  return found;
}

Result<std::string> Cloudflare::records_path(const Zone& zone, const Deadline& by) {
  if (!zone.id.empty())
    return fmt::format("/zones/{}/dns_records", client::percent_encoded(zone.id));
  std::string id;
  const Rows row = [&](const json::Value& found) -> Result<void> {
    if (canonical_name(text_or_nothing(found, "name")) == zone.name)
      id = text_or_nothing(found, "id");
    return {};
  };
  PX_CHECK(each_row({.what = "find zone",
                     .path = fmt::format("/zones?name={}&", client::percent_encoded(zone.name))},
                    zones_per_page, row, by));
  if (id.empty()) {
    return Error{Errc::not_found,
                 fmt::format("Cloudflare: the token reaches no zone '{}'", zone.name)};
  }
  return fmt::format("/zones/{}/dns_records", client::percent_encoded(id));
}

Result<std::string> Cloudflare::add(const Zone& zone, const Txt& record, const Deadline& by) {
  PX_TRY(const std::string records, records_path(zone, by));
  VendorApi::Call create{.what = "add record", .method = "POST", .path = records};
  json::Writer(create.body)
      .begin_object()
      .field("type", "TXT")
      .field("name", whole_name(zone.name, record.name))
      .field("content", quoted(record.value))
      .field("ttl", std::clamp(record.ttl, min_ttl, max_ttl))
      .end_object();
  auto added = call(create, by);
  if (!added && added.error().code == Errc::conflict) {
    PX_TRY(const std::vector<std::string> there, ids_of(zone, records, record, by));
    if (!there.empty()) return there.front();
  }
  if (!added) return std::move(added).error();
  const json::Value* result = added->find("result");
  std::string id = result == nullptr ? std::string{} : id_text(result->find("id"));
  if (id.empty()) return api_.nonsense(create, {Errc::protocol, "the new record has no id"});
  return id;
}

Result<std::vector<std::string>> Cloudflare::ids_of(const Zone& zone, const std::string& records,
                                                    const Txt& record, const Deadline& by) {
  const std::string name = whole_name(zone.name, record.name);
  std::vector<std::string> ids;
  const Rows row = [&](const json::Value& found) -> Result<void> {
    PX_TRY(const std::string_view id, found.text("id"));
    const bool ours = text_or_nothing(found, "type") == "TXT" &&
                      canonical_name(text_or_nothing(found, "name")) == name &&
                      is_value(text_or_nothing(found, "content"), record.value);
    if (ours) ids.emplace_back(id);
    return {};
  };
  PX_CHECK(each_row(
      {.what = "list records",
       .path = fmt::format("{}?type=TXT&name={}&", records, client::percent_encoded(name))},
      records_per_page, row, by));
  return ids;
}

Result<void> Cloudflare::remove(const Zone& zone, const Txt& record, std::string_view id,
                                const Deadline& by) {
  PX_TRY(const std::string records, records_path(zone, by));
  if (!id.empty()) return remove_id(records, id, by);
  PX_TRY(const std::vector<std::string> ids, ids_of(zone, records, record, by));
  for (const std::string& each : ids) PX_CHECK(remove_id(records, each, by));
  return {};
}

Result<void> Cloudflare::remove_id(const std::string& records, std::string_view id,
                                   const Deadline& by) {
  const auto removed = call({.what = "remove record",
                             .method = "DELETE",
                             .path = fmt::format("{}/{}", records, client::percent_encoded(id))},
                            by);
  if (!removed && removed.error().code != Errc::not_found) return removed.error();
  return {};
}

}  // namespace proxycore::dns
