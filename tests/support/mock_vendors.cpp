#include "support/mock_vendors.h"

#include "base/text.h"

#include <algorithm>
#include <functional>
#include <optional>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace proxycore::test {

namespace json = base::json;

namespace {

using Write = std::function<void(json::Writer& writer)>;

Reply json_reply(int status, const Write& write) {
  Reply reply{.status = status};
  json::Writer writer(reply.body);
  writer.begin_object();
  write(writer);
  writer.end_object();
  reply.headers.emplace_back("Content-Type", "application/json");
  return reply;
}

// "/domains/example.com/records" -> its parts.
std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t at = 1;
  while (at <= path.size()) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    parts.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return parts;
}

std::size_t number(const Ask& ask, std::string_view name, std::size_t otherwise) {
  const std::string text = ask.parameter(name);
  return text.empty() ? otherwise : base::parse_decimal(text, 1'000'000).value_or(0);
}

json::Value body_of(const Ask& ask) {
  auto body = json::parse(ask.body);
  return body ? *std::move(body) : json::Value{};
}

std::string text(const json::Value& body, std::string_view field) {
  return std::string{body.text(field).value_or(std::string_view{})};
}

bool ends_in(std::string_view name, std::string_view zone) {
  return name == zone || name.ends_with("." + std::string{zone});
}

template <class Row>
struct Page {
  std::vector<Row> rows;
  std::size_t total = 0;
  std::size_t pages = 0;
};

template <class Row>
Page<Row> page_of(const std::vector<Row>& all, std::size_t page, std::size_t per_page) {
  Page<Row> part{.rows = {}, .total = all.size(), .pages = (all.size() + per_page - 1) / per_page};
  for (std::size_t i = (page - 1) * per_page; i < std::min(all.size(), page * per_page); ++i) {
    part.rows.push_back(all[i]);
  }
  return part;
}

}  // namespace

void MockVendor::start() {
  server_ = std::make_unique<HttpServer>([this](const Ask& ask) {
    const std::lock_guard lock(mutex_);
    asks_.push_back(ask);
    if (next_.empty()) return answer(ask);
    Reply reply = std::move(next_.front());
    next_.pop_front();
    return reply;
  });
}

void MockVendor::answer_next(Reply reply) {
  const std::lock_guard lock(mutex_);
  next_.push_back(std::move(reply));
}

void MockVendor::put(std::string_view zone, std::string_view name, std::string_view value) {
  const std::lock_guard lock(mutex_);
  keep(zone, name, value, 300);
}

std::vector<std::string> MockVendor::values(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> found;
  for (const Record& record : records_) {
    if (record.name == name) found.push_back(record.value);
  }
  return found;
}

std::vector<MockVendor::Record> MockVendor::records() const {
  const std::lock_guard lock(mutex_);
  return records_;
}

std::vector<Ask> MockVendor::asks() const {
  const std::lock_guard lock(mutex_);
  return asks_;
}

MockVendor::Record& MockVendor::keep(std::string_view zone, std::string_view name,
                                     std::string_view value, std::uint64_t ttl) {
  return records_.emplace_back(Record{.id = fmt::format("{}", ++last_id_),
                                      .zone = std::string{zone},
                                      .name = std::string{name},
                                      .value = std::string{value},
                                      .ttl = ttl});
}

bool MockVendor::erase(std::string_view zone, std::string_view id) {
  return std::erase_if(records_, [&](const Record& record) {
           return record.zone == zone && record.id == id;
         }) > 0;
}

// ---- Cloudflare

namespace {

Reply cloudflare_error(int status, int code, std::string_view message) {
  return json_reply(status, [&](json::Writer& writer) {
    writer.field("success", false).key("result").null();
    writer.key("errors").begin_array().begin_object().field("code", code).field("message", message);
    if (code == 6003) {
      writer.key("error_chain").begin_array().begin_object().field("code", 6111);
      writer.field("message", "Invalid format for Authorization header").end_object().end_array();
    }
    writer.end_object().end_array().key("messages").begin_array().end_array();
  });
}

template <class Row>
Reply cloudflare_page(const Page<Row>& part, std::size_t page, std::size_t per_page,
                      const std::function<void(json::Writer& writer, const Row& row)>& write) {
  return json_reply(200, [&](json::Writer& writer) {
    writer.field("success", true).key("errors").begin_array().end_array();
    writer.key("messages").begin_array().end_array().key("result").begin_array();
    for (const Row& row : part.rows) {
      writer.begin_object();
      write(writer, row);
      writer.end_object();
    }
    writer.end_array().key("result_info").begin_object();
    writer.field("page", page).field("per_page", per_page).field("count", part.rows.size());
    writer.field("total_count", part.total).field("total_pages", part.pages).end_object();
  });
}

}  // namespace

MockCloudflare::MockCloudflare(std::vector<Zone> zones) : zones_(std::move(zones)) {
  start();
}

Reply MockCloudflare::answer(const Ask& ask) {
  const std::string given = ask.header("authorization");
  if (given.find(' ') != given.rfind(' ')) {
    return cloudflare_error(400, 6003, "Invalid request headers");
  }
  if (given != fmt::format("Bearer {}", token)) {
    return cloudflare_error(403, 10000, "Authentication error");
  }
  const std::vector<std::string> parts = parts_of(ask.path());
  if (ask.method == "GET" && parts == std::vector<std::string>{"zones"}) return list_zones(ask);
  if (parts.size() < 3 || parts[0] != "zones" || parts[2] != "dns_records") {
    return cloudflare_error(400, 7000, "No route for that URI");
  }
  const auto index = base::parse_decimal(
      std::string_view{parts[1]}.substr(std::min<std::size_t>(parts[1].size(), 5)), 1'000'000);
  if (!parts[1].starts_with("zone-") || !index || *index >= zones_.size()) {
    return cloudflare_error(400, 7003, "Could not route to the zone, perhaps its id is invalid?");
  }
  const std::string& zone = zones_[*index].name;
  if (ask.method == "GET" && parts.size() == 3) return list_records(ask, zone);
  if (ask.method == "POST" && parts.size() == 3) return create(ask, zone);
  if (ask.method == "DELETE" && parts.size() == 4) {
    if (!erase(zone, parts[3])) return cloudflare_error(404, 81044, "Record does not exist.");
    return json_reply(200, [&](json::Writer& writer) {
      writer.field("success", true).key("result").begin_object().field("id", parts[3]).end_object();
    });
  }
  return cloudflare_error(405, 10405, "Method not allowed for this authentication scheme");
}

Reply MockCloudflare::list_zones(const Ask& ask) const {
  const std::size_t page = number(ask, "page", 1);
  const std::size_t per_page = number(ask, "per_page", 20);
  if (page < 1 || per_page < 5 || per_page > 50) {
    return cloudflare_error(400, 6007, "per_page has to be 5 to 50");
  }
  using Row = std::pair<std::string, Zone>;
  std::vector<Row> all;
  const std::string name = ask.parameter("name");
  for (std::size_t i = 0; i < zones_.size(); ++i) {
    if (name.empty() || name == zones_[i].name)
      all.emplace_back(fmt::format("zone-{}", i), zones_[i]);
  }
  return cloudflare_page<Row>(page_of(all, page, per_page), page, per_page,
                              [](json::Writer& writer, const Row& row) {
                                writer.field("id", row.first).field("name", row.second.name);
                                writer.field("status", row.second.status);
                              });
}

Reply MockCloudflare::list_records(const Ask& ask, const std::string& zone) const {
  const std::size_t page = number(ask, "page", 1);
  const std::size_t per_page = number(ask, "per_page", 100);
  if (page < 1 || per_page < 5) return cloudflare_error(400, 6007, "per_page is too small");
  const std::string type = ask.parameter("type");
  const std::string name = ask.parameter("name");
  std::vector<Record> all;
  for (const Record& record : records_) {
    if (record.zone != zone || !(type.empty() || type == "TXT")) continue;
    if (name.empty() || name == record.name) all.push_back(record);
  }
  return cloudflare_page<Record>(
      page_of(all, page, per_page), page, per_page, [](json::Writer& writer, const Record& record) {
        writer.field("id", record.id).field("type", "TXT").field("name", record.name);
        writer.field("content", "\"" + record.value + "\"").field("ttl", record.ttl);
      });
}

Reply MockCloudflare::create(const Ask& ask, const std::string& zone) {
  const json::Value body = body_of(ask);
  const std::string name = text(body, "name");
  const std::string content = text(body, "content");
  const std::int64_t ttl = body.integer("ttl").value_or(1);
  if (text(body, "type") != "TXT" || !ends_in(name, zone)) {
    return cloudflare_error(400, 9005, "Content or name for this record is invalid.");
  }
  if (content.size() < 3 || content.front() != '"' || content.back() != '"' ||
      content.size() > 257) {
    return cloudflare_error(400, 9207, "TXT content must be quoted strings of up to 255 bytes.");
  }
  if (ttl != 1 && (ttl < 60 || ttl > 86'400)) {
    return cloudflare_error(400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1.");
  }
  const std::string value = content.substr(1, content.size() - 2);
  for (const Record& record : records_) {
    if (record.name == name && record.value == value) {
      return cloudflare_error(400, 81058, "An identical record already exists.");
    }
  }
  const std::string id = keep(zone, name, value, static_cast<std::uint64_t>(ttl)).id;
  return json_reply(200, [&](json::Writer& writer) {
    writer.field("success", true).key("result").begin_object().field("id", id).end_object();
  });
}

// ---- DigitalOcean

namespace {

Reply ocean_error(int status, std::string_view id, std::string_view message) {
  return json_reply(status, [&](json::Writer& writer) {
    writer.field("id", id).field("message", message).field("request_id", "4d9d8375");
  });
}

template <class Row>
Reply ocean_page(const Ask& ask, const std::vector<Row>& all, std::string_view list,
                 const std::function<void(json::Writer& writer, const Row& row)>& write) {
  const std::size_t page = std::max<std::size_t>(number(ask, "page", 1), 1);
  const std::size_t per_page = std::clamp<std::size_t>(number(ask, "per_page", 20), 1, 200);
  const Page<Row> part = page_of(all, page, per_page);
  return json_reply(200, [&](json::Writer& writer) {
    writer.key(list).begin_array();
    for (const Row& row : part.rows) {
      writer.begin_object();
      write(writer, row);
      writer.end_object();
    }
    writer.end_array().key("links").begin_object();
    if (page < part.pages) {
      writer.key("pages").begin_object();
      writer.field("next",
                   fmt::format("https://elsewhere.example{}?page={}", ask.path(), page + 1));
      writer.end_object();
    }
    writer.end_object().key("meta").begin_object().field("total", part.total).end_object();
  });
}

}  // namespace

MockDigitalOcean::MockDigitalOcean(std::vector<std::string> zones) : zones_(std::move(zones)) {
  start();
}

Reply MockDigitalOcean::answer(const Ask& ask) {
  if (ask.header("authorization") != fmt::format("Bearer {}", token)) {
    return ocean_error(401, "Unauthorized", "Unable to authenticate you");
  }
  const std::vector<std::string> parts = parts_of(ask.path());
  const Reply missing =
      ocean_error(404, "not_found", "The resource you were accessing could not be found.");
  if (parts.empty() || parts[0] != "domains") return missing;
  if (parts.size() == 1) return list_domains(ask);
  const std::string& zone = parts[1];
  const bool known = std::find(zones_.begin(), zones_.end(), zone) != zones_.end();
  if (!known || parts.size() < 3 || parts[2] != "records") return missing;
  if (ask.method == "GET" && parts.size() == 3) return list_records(ask, zone);
  if (ask.method == "POST" && parts.size() == 3) return create(ask, zone);
  if (ask.method == "DELETE" && parts.size() == 4 && erase(zone, parts[3])) return {.status = 204};
  return missing;
}

Reply MockDigitalOcean::list_domains(const Ask& ask) const {
  return ocean_page<std::string>(
      ask, zones_, "domains",
      [](json::Writer& writer, const std::string& zone) { writer.field("name", zone); });
}

Reply MockDigitalOcean::list_records(const Ask& ask, const std::string& zone) const {
  // A name that is not whole is in no zone, and finds nothing.
  const std::string name = ask.parameter("name");
  const std::string type = ask.parameter("type");
  std::vector<Record> all;
  for (const Record& record : records_) {
    if (record.zone != zone || !(type.empty() || type == "TXT")) continue;
    if (name.empty() || name == record.name) all.push_back(record);
  }
  return ocean_page<Record>(
      ask, all, "domain_records", [&](json::Writer& writer, const Record& record) {
        const bool apex = record.name == zone;
        const std::string relative = record.name.substr(
            0, record.name.size() - std::min(record.name.size(), zone.size() + 1));
        writer.field("id", base::parse_decimal(record.id).value_or(0)).field("type", "TXT");
        writer.field("name", apex ? std::string{"@"} : relative).field("data", record.value);
      });
}

Reply MockDigitalOcean::create(const Ask& ask, const std::string& zone) {
  const json::Value body = body_of(ask);
  const std::string name = text(body, "name");
  const std::int64_t ttl = body.integer("ttl").value_or(1800);
  if (text(body, "type") != "TXT" || name.empty() || text(body, "data").empty() || ttl < 30) {
    return ocean_error(422, "unprocessable_entity", "Data can't be blank, TTL must be 30 or more");
  }
  // A name that is whole already gets the zone once more: that is how relative names are.
  const std::string whole = name == "@" ? zone : name + "." + zone;
  const Record& record = keep(zone, whole, text(body, "data"), static_cast<std::uint64_t>(ttl));
  return json_reply(201, [&](json::Writer& writer) {
    writer.key("domain_record").begin_object();
    writer.field("id", base::parse_decimal(record.id).value_or(0)).field("type", "TXT");
    writer.field("name", name).field("data", record.value).field("ttl", record.ttl).end_object();
  });
}

// ---- Porkbun

namespace {

Reply porkbun_error(int status, std::string_view message, std::string_view code = {}) {
  return json_reply(status, [&](json::Writer& writer) {
    writer.field("status", "ERROR").field("message", message);
    if (!code.empty()) writer.field("code", code);
  });
}

}  // namespace

MockPorkbun::MockPorkbun(std::vector<std::string> zones, std::size_t page)
    : zones_(std::move(zones)), page_(page) {
  start();
}

Reply MockPorkbun::error_200(std::string_view message) {
  return porkbun_error(200, message);
}

Reply MockPorkbun::answer(const Ask& ask) {
  const json::Value body = body_of(ask);
  const auto members = body.object();
  if (ask.method != "POST" || !members) return porkbun_error(400, "All calls are POST with JSON.");
  for (const json::Value::Member& member : *members) {
    if (member.value.kind() != json::Value::Kind::text) {
      return porkbun_error(400, fmt::format("{} has to be a string.", member.name));
    }
  }
  if (text(body, "secretapikey").empty()) {
    return porkbun_error(400, "A secretapikey is needed.", "MISSING_SECRETAPIKEY");
  }
  if (text(body, "apikey") != key || text(body, "secretapikey") != secret) {
    return porkbun_error(400, "Invalid API key. (002)");
  }
  const std::vector<std::string> parts = parts_of(ask.path());
  if (parts == std::vector<std::string>{"ping"}) {
    return json_reply(200, [](json::Writer& writer) {
      writer.field("status", "SUCCESS").field("yourIp", "127.0.0.1");
    });
  }
  if (parts == std::vector<std::string>{"domain", "listAll"}) return list_domains(body);
  // Those that go by name and type hit every value at the name: nobody may call them.
  if (parts.size() < 3 || parts[0] != "dns") return porkbun_error(404, "No such call.");
  const std::string& zone = parts[2];
  if (std::find(zones_.begin(), zones_.end(), zone) == zones_.end()) {
    return porkbun_error(400, "Invalid domain.", "INVALID_DOMAIN");
  }
  if (parts[1] == "retrieve" && parts.size() == 3) return retrieve(zone);
  if (parts[1] == "create" && parts.size() == 3) return create(body, zone);
  if (parts[1] == "delete" && parts.size() == 4) {
    if (!erase(zone, parts[3])) return porkbun_error(400, "Invalid record ID.");
    return json_reply(200, [](json::Writer& writer) { writer.field("status", "SUCCESS"); });
  }
  return porkbun_error(404, "No such call.");
}

Reply MockPorkbun::list_domains(const json::Value& body) const {
  const std::size_t start = base::parse_decimal(text(body, "start"), 1'000'000).value_or(0);
  return json_reply(200, [&](json::Writer& writer) {
    writer.field("status", "SUCCESS").key("domains").begin_array();
    for (std::size_t i = start; i < std::min(zones_.size(), start + page_); ++i) {
      writer.begin_object().field("domain", zones_[i]).field("status", "ACTIVE").end_object();
    }
    writer.end_array();
  });
}

Reply MockPorkbun::retrieve(const std::string& zone) const {
  return json_reply(200, [&](json::Writer& writer) {
    writer.field("status", "SUCCESS").key("records").begin_array();
    for (const Record& record : records_) {
      if (record.zone != zone) continue;
      writer.begin_object().field("id", record.id).field("name", record.name).field("type", "TXT");
      writer.field("content", record.value).field("ttl", fmt::format("{}", record.ttl));
      writer.field("prio", "0").end_object();
    }
    writer.end_array();
  });
}

Reply MockPorkbun::create(const json::Value& body, const std::string& zone) {
  const std::string name = text(body, "name");
  const std::string whole = name.empty() ? zone : name + "." + zone;
  const auto ttl = base::parse_decimal(text(body, "ttl"), 1'000'000);
  if (text(body, "type") != "TXT" || text(body, "content").empty() || name == "@" || !ttl ||
      *ttl < 600) {
    return porkbun_error(400, "Create error: the record is not valid.");
  }
  for (const Record& record : records_) {
    if (record.name == whole && record.value == text(body, "content")) {
      return porkbun_error(400, "Create error: We were unable to create the DNS record.");
    }
  }
  const std::string id = keep(zone, whole, text(body, "content"), *ttl).id;
  return json_reply(200, [&](json::Writer& writer) {
    writer.field("status", "SUCCESS").field("id", base::parse_decimal(id).value_or(0));
  });
}

// ---- DuckDNS

MockDuckDns::MockDuckDns(std::vector<std::string> domains) : domains_(std::move(domains)) {
  start();
}

std::vector<std::string> MockDuckDns::values(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [domain, value] : txt_) {
    if (ends_in(name, domain + ".duckdns.org") && !value.empty()) return {value};
  }
  return {};
}

int MockDuckDns::addresses_changed() const {
  const std::lock_guard lock(mutex_);
  return addresses_changed_;
}

Reply MockDuckDns::answer(const Ask& ask) {
  const std::string domain = ask.parameter("domains");
  const bool known = std::find(domains_.begin(), domains_.end(), domain) != domains_.end();
  if (ask.path() != "/update" || ask.parameter("token") != token || !known) return {.body = "KO"};
  const std::string value = ask.parameter("txt");
  // Without a value it is the address that is updated.
  if (value.empty()) ++addresses_changed_;
  std::string& txt = txt_[domain];
  const std::string next = ask.parameter("clear") == "true" ? std::string{} : value;
  const std::string_view what = txt == next ? "NOCHANGE" : "UPDATED";
  if (!value.empty()) txt = next;
  return {.body = fmt::format("OK\n{}\n{}", next, what)};
}

}  // namespace proxycore::test
