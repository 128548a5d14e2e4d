#include "dns/digitalocean.h"

#include "client/url.h"
#include "dns/names.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace json = base::json;

namespace {

constexpr int per_page = 200;  // the most that are given
constexpr std::uint32_t min_ttl = 30;

std::string records_path(const Zone& zone) {
  return fmt::format("/domains/{}/records", client::percent_encoded(zone.name));
}

}  // namespace

ProviderInfo DigitalOcean::describe() {
  return {
      .type = "DigitalOcean",
      .title = "DigitalOcean",
      .fields = {{.name = "token",
                  .label = "API token",
                  .secret = true,
                  .help = "a personal access token with the domain scopes: create, read, update "
                          "and delete"}}};
}

DigitalOcean::DigitalOcean(const Settings& settings, client::HttpClient& http, std::string base)
    : api_(http, {.title = "DigitalOcean",
                  .base = std::move(base),
                  .headers = {{"Authorization", "Bearer " + settings.at("token")}},
                  .secrets = {settings.at("token")},
                  .reset_header = "ratelimit-reset"}) {}

Result<json::Value> DigitalOcean::call(const VendorApi::Call& call, const Deadline& by) {
  PX_TRY(VendorApi::Answer answer, api_.send(call, by));
  // The status tells; the letter case of the body's `id` has changed before.
  if (answer.ok()) return std::move(answer.json);
  return api_.failure(call, answer, VendorApi::code_of(answer.status),
                      answer.json.text("message").value_or(std::string_view{}));
}

Result<void> DigitalOcean::each_row(VendorApi::Call call, std::string_view list, const Rows& row,
                                    const Deadline& by) {
  const std::string path = std::move(call.path);
  for (int page = 1; page <= VendorApi::max_pages; ++page) {
    call.path = fmt::format("{}page={}&per_page={}", path, page, per_page);
    PX_TRY(const json::Value answer, this->call(call, by));
    const auto rows = answer.array(list);
    if (!rows) return api_.nonsense(call, rows.error());
    for (const json::Value& each : *rows) {
      if (const auto read = row(each); !read) return api_.nonsense(call, read.error());
    }
    // Whether there is a next page is said by its address, which is not followed: the token goes
    // nowhere but to our own base.
    const json::Value* links = answer.find("links");
    const json::Value* pages = links == nullptr ? nullptr : links->find("pages");
    if (rows->empty() || pages == nullptr || !pages->text("next")) return {};
  }
  return Error{Errc::limit, "DigitalOcean: too many pages"};
}

Result<void> DigitalOcean::check(const Deadline& by) {
  PX_CHECK(call({.what = "check the token", .path = "/domains?page=1&per_page=1"}, by));
  return {};
}

Result<std::vector<Zone>> DigitalOcean::zones(const Deadline& by) {
  std::vector<Zone> found;
  const Rows row = [&](const json::Value& zone) -> Result<void> {
    PX_TRY(const std::string_view given, zone.text("name"));
    std::string name = canonical_name(given);
    if (name.empty()) return {};
    if (found.size() == VendorApi::max_zones) return Error{Errc::limit, "too many zones"};
    found.push_back({.name = std::move(name)});
    return {};
  };
  PX_CHECK(each_row({.what = "list zones", .path = "/domains?"}, "domains", row, by));
  return found;
}

Result<std::string> DigitalOcean::add(const Zone& zone, const Txt& record, const Deadline& by) {
  PX_TRY(const std::vector<std::string> there, ids_of(zone, record, by));
  if (!there.empty()) return there.front();
  VendorApi::Call create{.what = "add record", .method = "POST", .path = records_path(zone)};
  json::Writer(create.body)
      .begin_object()
      .field("type", "TXT")
      .field("name", record.name)
      .field("data", record.value)
      .field("ttl", std::max(record.ttl, min_ttl))
      .end_object();
  PX_TRY(const json::Value answer, call(create, by));
  const json::Value* added = answer.find("domain_record");
  std::string id = added == nullptr ? std::string{} : id_text(added->find("id"));
  if (id.empty()) return api_.nonsense(create, {Errc::protocol, "the new record has no id"});
  return id;
}

Result<std::vector<std::string>> DigitalOcean::ids_of(const Zone& zone, const Txt& record,
                                                      const Deadline& by) {
  std::vector<std::string> ids;
  const Rows row = [&](const json::Value& found) -> Result<void> {
    PX_TRY(const std::string_view type, found.text("type"));
    PX_TRY(const std::string_view name, found.text("name"));
    PX_TRY(const std::string_view data, found.text("data"));
    if (type != "TXT" || name != record.name || !is_value(data, record.value)) return {};
    std::string id = id_text(found.find("id"));
    if (id.empty()) return Error{Errc::protocol, "a record has no id"};
    ids.push_back(std::move(id));
    return {};
  };
  // This filter takes the whole name, unlike all other calls.
  PX_CHECK(
      each_row({.what = "list records",
                .path = fmt::format("{}?type=TXT&name={}&", records_path(zone),
                                    client::percent_encoded(whole_name(zone.name, record.name)))},
               "domain_records", row, by));
  return ids;
}

Result<void> DigitalOcean::remove(const Zone& zone, const Txt& record, std::string_view id,
                                  const Deadline& by) {
  if (!id.empty()) return remove_id(zone, id, by);
  PX_TRY(const std::vector<std::string> ids, ids_of(zone, record, by));
  for (const std::string& each : ids) PX_CHECK(remove_id(zone, each, by));
  return {};
}

Result<void> DigitalOcean::remove_id(const Zone& zone, std::string_view id, const Deadline& by) {
  const auto removed =
      call({.what = "remove record",
            .method = "DELETE",
            .path = fmt::format("{}/{}", records_path(zone), client::percent_encoded(id))},
           by);
  if (!removed && removed.error().code != Errc::not_found) return removed.error();
  return {};
}

}  // namespace proxycore::dns
