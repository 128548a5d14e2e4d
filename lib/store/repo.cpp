#include "store/repo.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <algorithm>
#include <array>
#include <span>
#include <type_traits>
#include <utility>

namespace proxycore::store {

namespace {

namespace fields = host::fields;
namespace json = base::json;
namespace keys = host::keys;

using Names = std::span<const std::string_view>;

namespace field {
constexpr std::string_view created_by = "created_by";
constexpr std::string_view created_on = "created_on";
constexpr std::string_view updated_by = "updated_by";
constexpr std::string_view updated_on = "updated_on";
constexpr std::string_view username = "username";
constexpr std::string_view password = "password";
constexpr std::string_view backing = "backing";
constexpr std::string_view disabled = "disabled";
constexpr std::string_view password_expired = "password_expired";
constexpr std::string_view token = "token";
constexpr std::string_view is_valid = "is_valid";
constexpr std::string_view groups = "groups";
constexpr std::string_view id = "id";
constexpr std::string_view name = "name";
constexpr std::string_view dns_provider = "dnsProvider";
constexpr std::string_view domain = "domain";
constexpr std::string_view dns_provider_id = "dnsProvider_id";
constexpr std::string_view zone_id = "zoneId";
constexpr std::string_view fullchain_pem = "fullchain_pem";
constexpr std::string_view privkey_pem = "privkey_pem";
constexpr std::string_view cert_pem = "cert_pem";
constexpr std::string_view csr_pem = "csr_pem";
constexpr std::string_view expiry = "expiry";
constexpr std::string_view real_expiry = "real_expiry";
constexpr std::string_view fence = "fence";
}  // namespace field

constexpr std::array written_fields = {field::created_by, field::created_on, field::updated_by,
                                       field::updated_on};

// What is the same for every record of a type: where it is, and which fields it must have. The
// first one is its name.
template <class T>
struct Model;
template <>
struct Model<User> {
  static constexpr std::string_view prefix = keys::user_prefix;
  static constexpr std::array required = {field::username};
  static constexpr std::array known = {field::username, field::password, field::backing,
                                       field::disabled, field::password_expired};
  static const std::string& name(const User& user) { return user.name; }
};
template <>
struct Model<AuthToken> {
  static constexpr std::string_view prefix = keys::auth_token_prefix;
  static constexpr std::array required = {field::token, field::created_by};
  static constexpr std::array known = {field::token, field::is_valid, field::groups};
  static const std::string& name(const AuthToken& token) { return token.token; }
};
template <>
struct Model<DnsProvider> {
  static constexpr std::string_view prefix = keys::dns_provider_prefix;
  static constexpr std::array required = {field::id, field::name, field::dns_provider};
  static constexpr std::array known = {field::id, field::name, field::dns_provider};
  static const std::string& name(const DnsProvider& provider) { return provider.id; }
};
template <>
struct Model<Domain> {
  static constexpr std::string_view prefix = keys::domain_prefix;
  static constexpr std::array required = {field::domain, field::dns_provider_id};
  static constexpr std::array known = {field::domain, field::dns_provider_id, field::zone_id};
  static const std::string& name(const Domain& domain) { return domain.name; }
};

template <>
struct Model<Certificate> {
  static const std::string& name(const Certificate& certificate) { return certificate.name; }
};

bool is_in(Names names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Written written_of(const Record& record) {
  return {.created_by = fields::user(record, field::created_by),
          .updated_by = fields::user(record, field::updated_by),
          .created_on = fields::time_stamp(record, field::created_on),
          .updated_on = fields::time_stamp(record, field::updated_on)};
}

void set(Record& record, std::string_view name, std::string value) {
  record.insert_or_assign(std::string(name), std::move(value));
}

void set_unless_empty(Record& record, std::string_view name, const std::string& value) {
  if (!value.empty()) set(record, name, value);
}

// `nobody` says who changed what nobody has changed; sessions leave it out.
void set_written(Record& record, const Written& written, std::string_view nobody) {
  set_unless_empty(record, field::created_by, written.created_by);
  set_unless_empty(record, field::updated_by,
                   written.updated_by.empty() ? std::string(nobody) : written.updated_by);
  if (written.created_on) set(record, field::created_on, std::to_string(*written.created_on));
  if (written.updated_on) set(record, field::updated_on, std::to_string(*written.updated_on));
}

// Whether a record has what its type must have, and is the one that its key says.
template <class T>
Result<void> check(std::string_view key, const Record& record) {
  PX_CHECK(fields::require(record, Model<T>::required));
  const std::string_view name = Model<T>::required.front();
  if (key == std::string(Model<T>::prefix) + *fields::find(record, name)) return {};
  return fields::field_error(name, "is not its key's");
}

template <class T>
std::string key_of(std::string_view name) {
  return std::string(Model<T>::prefix).append(name);
}
template <>
std::string key_of<Certificate>(std::string_view name) {
  return keys::certificate(name);
}

// The JSON of a certificate. Errors never show its text: it has the private key.
Result<json::Value> parse_certificate(const Record& record) {
  const std::string* text = fields::find(record, text_field);
  if (text == nullptr) return fields::field_error(text_field, "is missing");
  auto parsed = json::parse(*text, {.size = Store::max_record});
  if (!parsed || !parsed->object()) {
    return fields::field_error(text_field, "expected a JSON object");
  }
  return parsed;
}

Result<std::string> pem(const json::Value& object, std::string_view name) {
  const json::Value* held = object.find(name);
  const auto text = held != nullptr ? held->text() : Result<std::string_view>(std::string_view{});
  if (text && (text->empty() || text->find("-----BEGIN ") != std::string_view::npos)) {
    return std::string(*text);
  }
  return fields::field_error(name, "expected PEM");
}

Result<std::optional<std::int64_t>> seconds(const json::Value& object, std::string_view name) {
  using Seconds = std::optional<std::int64_t>;
  const json::Value* held = object.find(name);
  if (held == nullptr || held->kind() == json::Value::Kind::null) return Seconds{};
  const auto number = held->integer(0, fields::max_time);
  if (!number) return fields::field_error(name, number.error().detail);
  return Seconds{*number};
}

std::span<const json::Value::Member> members_of(const json::Value& object) {
  return object.object().value_or(std::span<const json::Value::Member>{});
}

void write(json::Writer& writer, const json::Value& value) {
  using Kind = json::Value::Kind;
  switch (value.kind()) {
    case Kind::null:
      writer.null();
      break;
    case Kind::boolean:
      writer.value(*value.boolean());
      break;
    case Kind::integer:
      writer.value(*value.integer());
      break;
    case Kind::number:
      writer.value(*value.number());
      break;
    case Kind::text:
      writer.value(*value.text());
      break;
    case Kind::array:
      writer.begin_array();
      for (const auto items = *value.array(); const json::Value& item : items) write(writer, item);
      writer.end_array();
      break;
    case Kind::object:
      writer.begin_object();
      for (const json::Value::Member& member : members_of(value)) {
        writer.key(member.name);
        write(writer, member.value);
      }
      writer.end_object();
      break;
  }
}

constexpr std::array certificate_fields = {
    field::fullchain_pem, field::privkey_pem, field::cert_pem, field::csr_pem,
    field::expiry,        field::real_expiry, field::fence};

// `before`, if any, gives the members that are not known here.
std::string text_of(const Certificate& certificate, const json::Value* before) {
  std::string text;
  json::Writer writer(text);
  const auto set_pem = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) writer.field(name, value);
  };
  const auto set_number = [&](std::string_view name, const std::optional<std::int64_t>& value) {
    if (value) writer.field(name, *value);
  };
  writer.begin_object();
  set_pem(field::cert_pem, certificate.cert_pem);
  set_pem(field::fullchain_pem, certificate.fullchain_pem);
  set_pem(field::privkey_pem, certificate.privkey_pem);
  set_pem(field::csr_pem, certificate.csr_pem);
  set_number(field::expiry, certificate.expiry);
  set_number(field::real_expiry, certificate.real_expiry);
  set_number(field::fence, certificate.fence);
  if (before != nullptr) {
    for (const json::Value::Member& member : members_of(*before)) {
      if (is_in(certificate_fields, member.name)) continue;
      writer.key(member.name);
      write(writer, member.value);
    }
  }
  writer.end_object();
  return text;
}

// The record that replaces `before`, which may be empty.
template <class T>
Record rewritten(const T& item, const Record& before) {
  T next = item;
  const Written old = written_of(before);
  if (next.written.created_by.empty()) next.written.created_by = old.created_by;
  if (!next.written.created_on) next.written.created_on = old.created_on;
  next.written.updated_on = base::now_ms();
  if (!next.written.created_on) next.written.created_on = next.written.updated_on;
  Record record = before;
  // All that a provider's vendor wants is known: it is in `settings`, or was taken away.
  if constexpr (std::is_same_v<T, DnsProvider>) record.clear();
  for (const std::string_view name : Model<T>::known) record.erase(std::string(name));
  for (const std::string_view name : written_fields) record.erase(std::string(name));
  record.merge(record_of(next));
  return record;
}
Record rewritten(const Certificate& certificate, const Record& before) {
  const auto parsed = parse_certificate(before);
  const json::Value* kept = parsed ? &*parsed : nullptr;
  return {{std::string(text_field), text_of(certificate, kept)}};
}

}  // namespace

bool DnsProvider::is_masked() const {
  return std::any_of(settings.begin(), settings.end(),
                     [](const auto& setting) { return setting.second == "********"; });
}

std::optional<std::int64_t> Certificate::end() const {
  if (real_expiry) return real_expiry;
  return expiry == dns01_expiry ? std::nullopt : expiry;
}

template <>
Result<User> from(std::string_view key, const Record& record) {
  PX_CHECK(check<User>(key, record));
  User user{.name = fields::text(record, field::username),
            .password = fields::text(record, field::password),
            .disabled = fields::boolean(record, field::disabled, false),
            .password_expired = fields::boolean(record, field::password_expired, false),
            .written = written_of(record)};
  if (const std::string* backing = fields::find(record, field::backing)) user.backing = *backing;
  return user;
}

template <>
Result<AuthToken> from(std::string_view key, const Record& record) {
  PX_CHECK(check<AuthToken>(key, record));
  AuthToken token{.token = fields::text(record, field::token),
                  .is_valid = fields::boolean(record, field::is_valid, true),
                  .written = written_of(record)};
  PX_TRY(token.groups, fields::texts(record, field::groups));
  return token;
}

template <>
Result<DnsProvider> from(std::string_view key, const Record& record) {
  PX_CHECK(check<DnsProvider>(key, record));
  DnsProvider provider{.id = fields::text(record, field::id),
                       .name = fields::text(record, field::name),
                       .type = fields::text(record, field::dns_provider),
                       .written = written_of(record)};
  for (const auto& [name, value] : record) {
    if (is_in(Model<DnsProvider>::known, name) || is_in(written_fields, name)) continue;
    provider.settings.emplace(name, value);
  }
  return provider;
}

template <>
Result<Domain> from(std::string_view key, const Record& record) {
  PX_CHECK(check<Domain>(key, record));
  return Domain{.name = fields::text(record, field::domain),
                .provider_id = fields::text(record, field::dns_provider_id),
                .zone_id = fields::text(record, field::zone_id),
                .written = written_of(record)};
}

template <>
Result<Certificate> from(std::string_view key, const Record& record) {
  if (!key.ends_with(keys::certificate_suffix)) {
    return Error{Errc::invalid, "expected a key that ends in ':latest'"};
  }
  PX_TRY(const json::Value object, parse_certificate(record));
  Certificate certificate;
  certificate.name = key.substr(0, key.size() - keys::certificate_suffix.size());
  PX_TRY(certificate.fullchain_pem, pem(object, field::fullchain_pem));
  PX_TRY(certificate.privkey_pem, pem(object, field::privkey_pem));
  PX_TRY(certificate.cert_pem, pem(object, field::cert_pem));
  PX_TRY(certificate.csr_pem, pem(object, field::csr_pem));
  PX_TRY(certificate.expiry, seconds(object, field::expiry));
  PX_TRY(certificate.real_expiry, seconds(object, field::real_expiry));
  PX_TRY(certificate.fence, seconds(object, field::fence));
  if (certificate.fullchain_pem.empty()) {
    return fields::field_error(field::fullchain_pem, "is missing");
  }
  if (certificate.privkey_pem.empty()) return fields::field_error(field::privkey_pem, "is missing");
  return certificate;
}

Record record_of(const User& user) {
  Record record;
  set(record, field::username, user.name);
  set_unless_empty(record, field::password, user.password);
  set(record, field::backing, user.backing);
  if (user.disabled) set(record, field::disabled, fields::spelled(true));
  if (user.password_expired) set(record, field::password_expired, fields::spelled(true));
  set_written(record, user.written, fields::nobody);
  return record;
}

Record record_of(const AuthToken& token) {
  Record record;
  set(record, field::token, token.token);
  set(record, field::is_valid, fields::spelled(token.is_valid));
  if (!token.groups.empty()) set(record, field::groups, fields::spelled(token.groups));
  set_written(record, token.written, {});
  return record;
}

Record record_of(const DnsProvider& provider) {
  Record record(provider.settings.begin(), provider.settings.end());
  set(record, field::id, provider.id);
  set(record, field::name, provider.name);
  set(record, field::dns_provider, provider.type);
  set_written(record, provider.written, fields::nobody);
  return record;
}

Record record_of(const Domain& domain) {
  Record record;
  set(record, field::domain, domain.name);
  set(record, field::dns_provider_id, domain.provider_id);
  set_unless_empty(record, field::zone_id, domain.zone_id);
  set_written(record, domain.written, fields::nobody);
  return record;
}

Record record_of(const Certificate& certificate) {
  return {{std::string(text_field), text_of(certificate, nullptr)}};
}

template <class T>
Result<T> load(Store& store, std::string_view name, const Deadline& by) {
  const std::string key = key_of<T>(name);
  PX_TRY(const Record record, store.get(key, by));
  Result<T> item = from<T>(key, record);
  if (!item) return std::move(item).error().within(key);
  return item;
}

template <class T>
Result<void> create(Store& store, const T& item, Ttl ttl, const Deadline& by) {
  return store.create(key_of<T>(Model<T>::name(item)), rewritten(item, {}), ttl, by);
}

template <class T>
Result<void> save(Store& store, const T& item, const Deadline& by) {
  const auto change = [&item](const Record& before) -> Result<Record> {
    return rewritten(item, before);
  };
  return store.update(key_of<T>(Model<T>::name(item)), change, Life::as_before, by);
}

template <class T>
Result<bool> remove(Store& store, std::string_view name, const Deadline& by) {
  return store.erase(key_of<T>(name), by);
}

template <class T>
Result<void> for_each(Store& store, const std::function<void(T&& item)>& each,
                      const std::function<void(std::string_view key, const Error&)>& broken,
                      const Deadline& by) {
  return store.scan(
      Model<T>::prefix,
      [&](std::string_view key, Record&& record) {
        Result<T> item = from<T>(key, record);
        if (!item) return broken(key, item.error());
        each(*std::move(item));
      },
      by);
}
template <>
Result<void> for_each(Store& store, const std::function<void(Certificate&& item)>& each,
                      const std::function<void(std::string_view key, const Error&)>& broken,
                      const Deadline& by) {
  PX_TRY(const auto all, store.keys({}, by));
  for (const std::string& key : all) {
    if (!keys::is_text(key) || !key.ends_with(keys::certificate_suffix)) continue;
    const auto record = store.get(key, by);
    if (!record && record.error().code == Errc::not_found) continue;  // it has just gone
    if (!record && record.error().code != Errc::invalid) return record.error();
    Result<Certificate> item = record ? from<Certificate>(key, *record) : record.error();
    if (item) {
      each(*std::move(item));
    } else {
      broken(key, item.error());
    }
  }
  return {};
}

template Result<User> load(Store&, std::string_view, const Deadline&);
template Result<AuthToken> load(Store&, std::string_view, const Deadline&);
template Result<DnsProvider> load(Store&, std::string_view, const Deadline&);
template Result<Domain> load(Store&, std::string_view, const Deadline&);
template Result<Certificate> load(Store&, std::string_view, const Deadline&);

template Result<void> create(Store&, const User&, Ttl, const Deadline&);
template Result<void> create(Store&, const AuthToken&, Ttl, const Deadline&);
template Result<void> create(Store&, const DnsProvider&, Ttl, const Deadline&);
template Result<void> create(Store&, const Domain&, Ttl, const Deadline&);
template Result<void> create(Store&, const Certificate&, Ttl, const Deadline&);

template Result<void> save(Store&, const User&, const Deadline&);
template Result<void> save(Store&, const AuthToken&, const Deadline&);
template Result<void> save(Store&, const DnsProvider&, const Deadline&);
template Result<void> save(Store&, const Domain&, const Deadline&);
template Result<void> save(Store&, const Certificate&, const Deadline&);

template Result<bool> remove<User>(Store&, std::string_view, const Deadline&);
template Result<bool> remove<AuthToken>(Store&, std::string_view, const Deadline&);
template Result<bool> remove<DnsProvider>(Store&, std::string_view, const Deadline&);
template Result<bool> remove<Domain>(Store&, std::string_view, const Deadline&);
template Result<bool> remove<Certificate>(Store&, std::string_view, const Deadline&);

using Broken = std::function<void(std::string_view, const Error&)>;
template Result<void> for_each(Store&, const std::function<void(User&&)>&, const Broken&,
                               const Deadline&);
template Result<void> for_each(Store&, const std::function<void(AuthToken&&)>&, const Broken&,
                               const Deadline&);
template Result<void> for_each(Store&, const std::function<void(DnsProvider&&)>&, const Broken&,
                               const Deadline&);
template Result<void> for_each(Store&, const std::function<void(Domain&&)>&, const Broken&,
                               const Deadline&);

}  // namespace proxycore::store
