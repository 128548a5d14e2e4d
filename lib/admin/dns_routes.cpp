#include "admin/dns_routes.h"

#include "admin/changes.h"
#include "admin/replies.h"
#include "base/text.h"
#include "host/keys.h"
#include "store/repo.h"
#include <proxycore/dns_provider.h>
#include <proxycore/host.h>

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace proxycore::admin {

namespace {

namespace json = base::json;
namespace keys = host::keys;
using Types = std::vector<dns::ProviderInfo>;
using Domains = std::vector<store::Domain>;

constexpr std::string_view provider_model = "DnsProvider";
constexpr std::string_view domain_model = "Domain";
constexpr Millis probe_time{2'000};              // for the store to say that it is there
constexpr std::string_view masked = "********";  // what some pages of the old software send back

// null: a plugin that is not here any more.
const dns::ProviderInfo* find_type(const Types& types, std::string_view type) {
  const auto at = std::find_if(types.begin(), types.end(),
                               [type](const auto& info) { return base::same(info.type, type); });
  return at != types.end() ? &*at : nullptr;
}

bool is_secret(const dns::ProviderInfo* info, std::string_view name) {
  if (info == nullptr) return true;  // any may be
  const auto at = std::find_if(info->fields.begin(), info->fields.end(),
                               [name](const dns::Field& field) { return field.name == name; });
  return at == info->fields.end() || at->secret;
}

// Old clients show one beside a provider. Ours is a globe for all: a vendor's mark is the vendor's.
constexpr std::string_view icon_character = "\xF0\x9F\x8C\x90";
constexpr std::string_view icon_image =  // PNG, 16 by 16
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQMAAAAlPW0iAAAABlBMVEUAAABwcHCOrNlVAAAAAXRSTlMAQObY"
    "ZgAAACtJREFUeNpjYGxg4P/AIFfBoKLCkKLG4KIEQv//gxCEDRQESgEVAJUxNgAAEGcLZWwuqpkAAAAASUVO"
    "RK5CYII=";

// As old clients know them: times are texts.
void write_written(json::Writer& out, const store::Written& written) {
  out.field("created_by", written.created_by).field("updated_by", written.updated_by);
  if (written.created_on) out.field("created_on", std::to_string(*written.created_on));
  if (written.updated_on) out.field("updated_on", std::to_string(*written.updated_on));
}

void write_domain(json::Writer& out, const store::Domain& domain) {
  out.field("domain", domain.name).field("dnsProvider_id", domain.provider_id);
  if (!domain.zone_id.empty()) out.field("zoneId", domain.zone_id);
  write_written(out, domain.written);
}

// What a form asks for.
void write_fields(json::Writer& out, std::span<const dns::Field> fields) {
  out.key("fields").begin_object();
  for (const dns::Field& field : fields) {
    out.key(field.name).begin_object();
    out.field("displayName", field.label).field("type", "string");
    out.field("isRequired", field.required).field("isPrivate", field.secret);
    if (!field.help.empty()) out.field("help", field.help);
    out.end_object();
  }
  out.end_object();
}

// The fields of an object that is begun.
void write_provider(json::Writer& out, const store::DnsProvider& provider, const Types& types) {
  const dns::ProviderInfo* info = find_type(types, provider.type);
  out.field("id", provider.id).field("name", provider.name).field("dnsProvider", provider.type);
  out.field("displayName", info != nullptr ? info->title : provider.type);
  out.field("displayIconUni", icon_character).field("displayIconHtml", icon_image);
  if (info != nullptr) write_fields(out, info->fields);
  for (const auto& [name, value] : provider.settings) {
    out.key(name);
    if (is_secret(info, name)) {
      out.begin_object().field("set", !value.empty()).end_object();
    } else {
      out.value(value);
    }
  }
  write_written(out, provider.written);
}

void write_domains_of(json::Writer& out, const Domains& domains, std::string_view id) {
  out.key("domains").begin_array();
  for (const store::Domain& domain : domains) {
    if (domain.provider_id != id) continue;
    out.begin_object();
    write_domain(out, domain);
    out.end_object();
  }
  out.end_array();
}

// In the order of names; a broken record hides no other.
template <class T>
Result<std::vector<T>> all_of(Store& store, const Deadline& by) {
  std::vector<T> all;
  PX_CHECK(store::for_each<T>(
      store, [&all](T&& item) { all.push_back(std::move(item)); },
      [](std::string_view, const Error&) {}, by));
  return all;
}

Result<Record> record_of(Context& admin, const std::string& id, const Deadline& by) {
  auto record = admin.store.get(keys::dns_provider(id), by);
  if (!record && record.error().code == Errc::not_found) return does_not_exist(provider_model, id);
  return record;
}

Result<void> write_all(json::Writer& out, Context& admin, const store::DnsProvider& provider,
                       const Deadline& by) {
  PX_TRY(const Domains domains, all_of<store::Domain>(admin.store, by));
  write_provider(out, provider, admin.renewer.dns_types());
  write_domains_of(out, domains, provider.id);
  return {};
}

// {"message":...,"__requestedHost":id,<the record>,"domains":[...]}, and its tag.
Result<Reply> told(Context& admin, std::string_view message, const store::DnsProvider& provider,
                   const Record& record, const Deadline& by) {
  Reply reply{.etag = tag_of(record)};
  json::Writer out(reply.body);
  out.begin_object().field("message", message).field("__requestedHost", provider.id);
  PX_CHECK(write_all(out, admin, provider, by));
  out.end_object();
  return reply;
}

// What a body says about an account.
struct Wanted {
  DnsAccount account;
  std::vector<Problem::Field> faults = {};

  // A text of the body; `otherwise` if there is none.
  std::string text(const json::Value& body, std::string_view name, std::string_view otherwise) {
    const json::Value* given = body.find(name);
    if (given == nullptr || given->kind() == json::Value::Kind::null) return std::string(otherwise);
    if (const auto text = given->text()) return std::string(*text);
    faults.push_back({std::string(name), fmt::format("{} is not string type.", name)});
    return {};
  }
};

// `before` is null for a new account. What the body leaves out stays as it was; a secret that is
// empty, or {"set":true} as we show it, is left out.
Wanted wanted_from(const json::Value& body, const store::DnsProvider* before, const Types& types) {
  Wanted wanted;
  DnsAccount& account = wanted.account;
  account.name = wanted.text(body, "name", before != nullptr ? before->name : "");
  account.type = wanted.text(body, "dnsProvider", before != nullptr ? before->type : "");
  if (account.name.empty()) wanted.faults.push_back({"name", "name is required."});
  const dns::ProviderInfo* info = find_type(types, account.type);
  if (account.type.empty()) {
    wanted.faults.push_back({"dnsProvider", "dnsProvider is required."});
  } else if (info == nullptr) {
    wanted.faults.push_back(
        {"dnsProvider", fmt::format("{} is not a known type", base::shown(account.type))});
  }
  if (info == nullptr) return wanted;
  account.type = info->type;
  const bool same_type = before != nullptr && base::same(before->type, info->type);
  for (const dns::Field& field : info->fields) {
    const json::Value* given = body.find(field.name);
    const bool as_shown = field.secret && given != nullptr &&
                          (given->kind() == json::Value::Kind::object ||
                           given->text().value_or(std::string_view()) == masked);
    std::string kept;
    if (same_type && !field.secret) {
      const auto old = before->settings.find(field.name);
      if (old != before->settings.end()) kept = old->second;
    }
    std::string value = as_shown ? std::string() : wanted.text(body, field.name, kept);
    const bool is_kept = field.secret && same_type;
    if (value.empty() && field.required && !is_kept && (given == nullptr || as_shown)) {
      wanted.faults.push_back({field.name, fmt::format("{} is required.", field.name)});
    }
    if (!value.empty() || is_kept) account.settings.emplace_back(field.name, std::move(value));
  }
  return wanted;
}

// What a client is told of an account that is not kept. Vendors fail with nearly every Errc; what
// a store fails with, it fails with again.
Result<Reply> refused(Context& admin, const dns::ProviderInfo* info, Error why,
                      const Deadline& by) {
  if (why.code == Errc::denied) {
    Problem problem = wrong_fields({});
    if (info != nullptr && !info->fields.empty()) {
      const auto secret = std::find_if(info->fields.begin(), info->fields.end(),
                                       [](const dns::Field& field) { return field.secret; });
      const auto& field = secret != info->fields.end() ? *secret : info->fields.front();
      problem.fields.push_back({field.name, "Invalid Key"});
    }
    problem.fields.push_back({"dnsProvider", std::move(why.detail)});
    return refuse(std::move(problem));
  }
  if (why.code == Errc::conflict) {
    Problem problem = problem_of(why);
    problem.fields = {{"domain", why.detail}};
    return refuse(std::move(problem));
  }
  if (why.code == Errc::invalid || why.code == Errc::cancelled) return why;
  // The vendor may have taken all the time there was.
  // Taking away what is not there changes nothing, and needs a store that can be written.
  if (!admin.store.erase(keys::dns_provider("-"), Deadline::in(probe_time, by.stop()))) return why;
  Problem problem = others_failed("OtherDnsApiError", std::move(why.detail));
  problem.retry_after_s = why.retry_after_s;
  return refuse(std::move(problem));
}

// Checks the account with its vendor, keeps it, and tells.
Result<Reply> save(Context& admin, const Call& call, Wanted wanted, const Record& before) {
  if (!wanted.faults.empty()) return refuse(wrong_fields(std::move(wanted.faults)));
  wanted.account.changed_by = call.caller.user;
  const bool is_new = wanted.account.id.empty();
  const auto saved = admin.renewer.save_dns(wanted.account, call.by);
  if (!saved) {
    const Types types = admin.renewer.dns_types();
    return refused(admin, find_type(types, wanted.account.type), saved.error(), call.by);
  }
  const std::string key = keys::dns_provider(saved->id);
  PX_TRY(const Record after,
         admin.changes.record_now(call.caller, is_new ? "dns.create" : "dns.update", key, before,
                                  call.by));
  PX_TRY(const auto provider, store::from<store::DnsProvider>(key, after));
  const auto message = fmt::format("\"{}\" {}.", saved->id, is_new ? "added" : "updated");
  return told(admin, message, provider, after, call.by);
}

}  // namespace

Result<Reply> list_dns_providers(Context& admin, const Call& call) {
  PX_TRY(const auto providers, all_of<store::DnsProvider>(admin.store, call.by));
  const bool detail = !call.query.text("detail").empty();
  const Types types = admin.renewer.dns_types();
  Domains domains;
  if (detail) {
    PX_TRY(domains, all_of<store::Domain>(admin.store, call.by));
  }
  std::string body;
  json::Writer out(body);
  out.begin_object().key("results").begin_array();
  for (const store::DnsProvider& provider : providers) {
    if (!detail) {
      out.value(provider.id);
      continue;
    }
    out.begin_object();
    write_provider(out, provider, types);
    write_domains_of(out, domains, provider.id);
    out.end_object();
  }
  out.end_array().end_object();
  return ok(std::move(body));
}

Result<Reply> list_dns_types(Context& admin, const Call&) {
  std::string body;
  json::Writer out(body);
  out.begin_object().key("results").begin_array();
  for (const dns::ProviderInfo& info : admin.renewer.dns_types()) {
    out.begin_object().field("name", info.type).field("displayName", info.title);
    write_fields(out, info.fields);
    out.end_object();
  }
  out.end_array().end_object();
  return ok(std::move(body));
}

Result<Reply> add_dns_provider(Context& admin, const Call& call) {
  PX_TRY(const json::Value* body, call.content());
  return save(admin, call, wanted_from(*body, nullptr, admin.renewer.dns_types()), {});
}

Result<Reply> show_dns_provider(Context& admin, const Call& call) {
  const std::string& id = call.path[0];
  PX_TRY(const Record record, record_of(admin, id, call.by));
  PX_TRY(const auto provider, store::from<store::DnsProvider>(keys::dns_provider(id), record));
  Reply reply{.etag = tag_of(record)};
  json::Writer out(reply.body);
  out.begin_object().field("item", id).key("results").begin_object();
  PX_CHECK(write_all(out, admin, provider, call.by));
  out.end_object().end_object();
  return reply;
}

Result<Reply> change_dns_provider(Context& admin, const Call& call) {
  const std::string& id = call.path[0];
  PX_TRY(const Record before, record_of(admin, id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_TRY(const auto provider, store::from<store::DnsProvider>(keys::dns_provider(id), before));
  PX_TRY(const json::Value* body, call.content());
  Wanted wanted = wanted_from(*body, &provider, admin.renewer.dns_types());
  wanted.account.id = id;
  return save(admin, call, std::move(wanted), before);
}

Result<Reply> remove_dns_provider(Context& admin, const Call& call) {
  const std::string& id = call.path[0];
  const std::string key = keys::dns_provider(id);
  PX_TRY(const Record before, record_of(admin, id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  // One whose record is broken can go as well.
  const auto provider = store::from<store::DnsProvider>(key, before);
  PX_TRY(Reply reply, told(admin, fmt::format("{} deleted", id),
                           provider ? *provider : store::DnsProvider{id, {}, {}}, before, call.by));
  reply.etag.clear();
  PX_TRY(const bool removed, admin.renewer.remove_dns(id, call.by));
  if (!removed) return does_not_exist(provider_model, id);
  admin.changes.record(call.caller, "dns.remove", key, before, {}, call.by);
  return reply;
}

Result<Reply> list_dns_domains(Context& admin, const Call& call) {
  PX_TRY(const Domains domains, all_of<store::Domain>(admin.store, call.by));
  const bool detail = !call.query.text("detail").empty();
  std::map<std::string, store::DnsProvider, std::less<>> providers;
  if (detail) {
    PX_TRY(auto all, all_of<store::DnsProvider>(admin.store, call.by));
    for (auto& one : all) providers.emplace(one.id, one);
  }
  const Types types = admin.renewer.dns_types();
  std::string body;
  json::Writer out(body);
  out.begin_object().key("results").begin_array();
  for (const store::Domain& domain : domains) {
    if (!detail) {
      out.value(domain.name);
      continue;
    }
    out.begin_object();
    write_domain(out, domain);
    if (const auto at = providers.find(domain.provider_id); at != providers.end()) {
      out.key("dnsProvider").begin_object();
      write_provider(out, at->second, types);
      out.end_object();
    }
    out.end_object();
  }
  out.end_array().end_object();
  return ok(std::move(body));
}

Result<Reply> find_dns_domain(Context& admin, const Call& call) {
  const std::string& given = call.path[0];
  auto canonical = HostName::canonical_pattern(given);
  if (!canonical) return does_not_exist(domain_model, given);
  for (std::string_view name = *canonical; !name.empty();) {
    const auto domain = store::load<store::Domain>(admin.store, name, call.by);
    if (domain) {
      std::string body;
      json::Writer out(body);
      out.begin_object().key("results").begin_array().begin_object();
      write_domain(out, *domain);
      const auto provider =
          store::load<store::DnsProvider>(admin.store, domain->provider_id, call.by);
      if (provider) {
        out.key("dnsProvider").begin_object();
        write_provider(out, *provider, admin.renewer.dns_types());
        out.end_object();
      }
      out.end_object().end_array().end_object();
      return ok(std::move(body));
    }
    if (domain.error().code != Errc::not_found) return domain.error();
    const std::size_t dot = name.find('.');
    name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  }
  return does_not_exist(domain_model, given);
}

Result<Reply> refresh_dns_domains(Context& admin, const Call& call) {
  const std::string& id = call.path[0];
  const std::string key = keys::dns_provider(id);
  PX_TRY(const Record record, record_of(admin, id, call.by));
  const auto zones = admin.renewer.refresh_dns(id, call.by);
  if (!zones) {
    const auto provider = store::from<store::DnsProvider>(key, record);
    const Types types = admin.renewer.dns_types();
    return refused(admin, provider ? find_type(types, provider->type) : nullptr, zones.error(),
                   call.by);
  }
  admin.changes.record(call.caller, "dns.refresh", key, record, record, call.by);
  std::string body;
  json::Writer out(body);
  out.begin_object().key("domains").begin_array();
  for (const std::string& zone : *zones) out.value(zone);
  out.end_array().end_object();
  return ok(std::move(body));
}

}  // namespace proxycore::admin
