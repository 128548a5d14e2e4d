#include "dns/plugin.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "dns/names.h"
#include "dns/patience.h"
#include "dns/resolver.h"
#include "dns/vendor_api.h"
#include "dns/words.h"
#include <proxycore/dns_plugin.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <dlfcn.h>
#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::size_t max_text = 1024;  // bytes of a title, a label, a help
constexpr std::size_t max_fields = 64;
constexpr std::size_t max_headers = 64;

std::string_view view(proxycore_str text) {
  return text.data == nullptr ? std::string_view{} : std::string_view{text.data, text.size};
}
proxycore_str str(std::string_view text) {
  return {text.data(), text.size()};
}

Errc code_of(int status) noexcept {
  switch (status) {
    case PROXYCORE_DNS_AUTH:
    case PROXYCORE_DNS_FORBIDDEN:
      return Errc::denied;
    case PROXYCORE_DNS_NOT_FOUND:
    case PROXYCORE_DNS_ZONE_NOT_FOUND:
      return Errc::not_found;
    case PROXYCORE_DNS_CONFLICT:
      return Errc::conflict;
    case PROXYCORE_DNS_RATE_LIMITED:
      return Errc::busy;
    case PROXYCORE_DNS_QUOTA:
      return Errc::limit;
    case PROXYCORE_DNS_INVALID:
    case PROXYCORE_DNS_UNSUPPORTED:
      return Errc::invalid;
    case PROXYCORE_DNS_TIMEOUT:
      return Errc::timeout;
    case PROXYCORE_DNS_CANCELLED:
      return Errc::cancelled;
    default:
      return Errc::io;
  }
}

// The other way, for what the host's services answer.
proxycore_dns_status status_of(Errc code) noexcept {
  switch (code) {
    case Errc::denied:
      return PROXYCORE_DNS_FORBIDDEN;
    case Errc::not_found:
      return PROXYCORE_DNS_NOT_FOUND;
    case Errc::conflict:
      return PROXYCORE_DNS_CONFLICT;
    case Errc::busy:
      return PROXYCORE_DNS_RATE_LIMITED;
    case Errc::limit:
      return PROXYCORE_DNS_QUOTA;
    case Errc::invalid:
      return PROXYCORE_DNS_INVALID;
    case Errc::timeout:
      return PROXYCORE_DNS_TIMEOUT;
    case Errc::cancelled:
      return PROXYCORE_DNS_CANCELLED;
    default:
      return PROXYCORE_DNS_UNAVAILABLE;
  }
}

// The members that both sides know.
template <class Struct>
void give(const Struct& from, Struct* to) {
  const std::uint32_t size = to->size;
  std::memcpy(to, &from, std::min<std::size_t>(size, sizeof from));
  to->size = size;
}

void fail(proxycore_dns_error* error, const Error& why) {
  if (error == nullptr) return;
  proxycore_dns_error told{};
  told.retry_after_s = why.retry_after_s;
  const std::string text = why.detail.empty() ? std::string{name_of(why.code)} : why.detail;
  text.copy(told.message, sizeof told.message - 1);
  give(told, error);
}

struct Loaded {
  const proxycore_dns_plugin* calls = nullptr;
  ProviderInfo info;
};

class PluginProvider final : public Provider {
 public:
  PluginProvider(const Loaded& plugin, const Settings& settings, const Services& services)
      : calls_(*plugin.calls), info_(plugin.info), settings_(settings), services_(services) {
    for (const Field& field : info_.fields) {
      const auto set = settings_.find(field.name);
      if (field.secret && set != settings_.end()) secrets_.push_back(set->second);
    }
  }
  ~PluginProvider() override {
    if (open_) calls_.close(self_);
  }
  PluginProvider(const PluginProvider&) = delete;
  PluginProvider& operator=(const PluginProvider&) = delete;

  // Once, before any of the others.
  Result<void> open() {
    proxycore_dns_error error = no_error();
    const int status = calls_.open(&host_, &self_, &error);
    open_ = status == PROXYCORE_DNS_OK;
    return outcome("open", status, error);
  }

  [[nodiscard]] const ProviderInfo& info() const noexcept override { return info_; }

  Result<void> check(const Deadline& by) override {
    return call("check", by,
                [&](proxycore_dns_error* error) { return calls_.check(self_, error); });
  }

  Result<std::vector<Zone>> zones(const Deadline& by) override {
    Gathered gathered;
    PX_CHECK(call("list zones", by, [&](proxycore_dns_error* error) {
      return calls_.zones(self_, gather, &gathered, error);
    }));
    if (!gathered.fault.empty()) return worded("list zones", Errc::protocol, gathered.fault);
    return std::move(gathered.zones);
  }

  Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) override {
    char id[PROXYCORE_DNS_ID] = {};
    const proxycore_dns_zone in = c_zone(zone);
    const proxycore_dns_record what = c_record(record, {});
    PX_CHECK(call("add record", by, [&](proxycore_dns_error* error) {
      return calls_.add(self_, &in, &what, id, error);
    }));
    return std::string{id, ::strnlen(id, sizeof id)};
  }

  Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                      const Deadline& by) override {
    const proxycore_dns_zone in = c_zone(zone);
    const proxycore_dns_record what = c_record(record, id);
    return call("remove record", by, [&](proxycore_dns_error* error) {
      return calls_.remove(self_, &in, &what, error);
    });
  }

 private:
  struct Gathered {
    std::vector<Zone> zones;
    std::string fault;  // the first thing that was wrong with one
  };

  static proxycore_dns_error no_error() {
    proxycore_dns_error error{};
    error.size = sizeof error;
    return error;
  }
  static proxycore_dns_zone c_zone(const Zone& zone) {
    return {.size = sizeof(proxycore_dns_zone), .name = str(zone.name), .id = str(zone.id)};
  }
  static proxycore_dns_record c_record(const Txt& record, std::string_view id) {
    return {.size = sizeof(proxycore_dns_record),
            .ttl = record.ttl,
            .name = str(record.name),
            .value = str(record.value),
            .id = str(id)};
  }

  static void gather(void* context, const proxycore_dns_zone* zone) {
    auto& gathered = *static_cast<Gathered*>(context);
    if (!gathered.fault.empty()) return;
    if (zone == nullptr || zone->size < sizeof(proxycore_dns_zone)) {
      gathered.fault = "a zone of another size than promised";
      return;
    }
    std::string name = canonical_name(view(zone->name));
    if (name.empty() || zone->id.size >= PROXYCORE_DNS_ID) {
      gathered.fault = fmt::format("{} is no zone", base::shown(view(zone->name)));
    } else if (gathered.zones.size() == VendorApi::max_zones) {
      gathered.fault = "too many zones";
    } else {
      gathered.zones.push_back({.name = std::move(name), .id = std::string{view(zone->id)}});
    }
  }

  // One call of the plugin. What its host lends goes by this call's deadline, and what it was lent
  // is taken back.
  template <class Function>
  Result<void> call(std::string_view what, const Deadline& by, Function function) {
    if (by.cancelled()) return worded(what, Errc::cancelled, "cancelled");
    if (by.passed()) return worded(what, Errc::timeout, "no time is left");
    proxycore_dns_error error = no_error();
    by_ = &by;
    const int status = function(&error);
    by_ = nullptr;
    headers_.clear();
    response_ = {};
    return outcome(what, status, error);
  }

  Result<void> outcome(std::string_view what, int status, const proxycore_dns_error& error) const {
    if (status == PROXYCORE_DNS_OK) return {};
    const std::string_view said{error.message, ::strnlen(error.message, sizeof error.message)};
    Error why = worded(what, code_of(status), said.empty() ? "no explanation" : said);
    why.retry_after_s = error.retry_after_s;
    return why;
  }

  [[nodiscard]] Error worded(std::string_view what, Errc code, std::string_view said) const {
    return {code, fmt::format("{}: {}: {}", info_.title, what, fit_for_people(said, secrets_))};
  }

  // What the host lends: `self` is the provider.
  static proxycore_str setting(void* self, const char* name) {
    const auto& settings = static_cast<PluginProvider*>(self)->settings_;
    const auto found = name == nullptr ? settings.end() : settings.find(name);
    return found == settings.end() ? str("") : str(found->second);
  }

  static int http(void* self, const proxycore_http_request* request,
                  proxycore_http_response* response, proxycore_dns_error* error) {
    const auto answered = static_cast<PluginProvider*>(self)->send(request, response);
    if (answered) return PROXYCORE_DNS_OK;
    fail(error, answered.error());
    return status_of(answered.error().code);
  }

  Result<void> send(const proxycore_http_request* request, proxycore_http_response* response) {
    if (by_ == nullptr) return Error{Errc::invalid, "http: not in a call that may take time"};
    if (request == nullptr || request->size < sizeof *request || response == nullptr ||
        response->size < sizeof *response) {
      return Error{Errc::invalid, "http: a struct of another size than promised"};
    }
    if (request->header_count > max_headers) return Error{Errc::invalid, "http: too many headers"};
    client::Request ask{.url = std::string{view(request->url)},
                        .body = std::string{view(request->body)}};
    if (request->method.size != 0) ask.method = view(request->method);
    for (const proxycore_http_header& header : std::span{request->headers, request->header_count}) {
      ask.headers.push_back({std::string{view(header.name)}, std::string{view(header.value)}});
    }
    PX_TRY(Sent sent, send_patiently(services_.http, ask, {}, *by_));
    if (sent.busy) {
      return Error{Errc::busy, fmt::format("http: {}: asks to wait", sent.response.status),
                   sent.asked_s.value_or(0)};
    }
    response_ = std::move(sent.response);
    headers_.clear();
    for (const client::Header& header : response_.headers) {
      headers_.push_back({str(header.name), str(header.value)});
    }
    give<proxycore_http_response>({.size = 0,
                                   .status = response_.status,
                                   .headers = headers_.data(),
                                   .header_count = headers_.size(),
                                   .body = str(response_.body)},
                                  response);
    return {};
  }

  static int txt(void* self, proxycore_str name, proxycore_text_fn each, void* context,
                 proxycore_dns_error* error) {
    const auto& provider = *static_cast<PluginProvider*>(self);
    auto values = provider.look(view(name));
    if (!values && values.error().code == Errc::not_found) values = std::vector<std::string>{};
    if (!values) {
      fail(error, values.error());
      return status_of(values.error().code);
    }
    for (const std::string& value : *values) each(context, str(value));
    return PROXYCORE_DNS_OK;
  }

  [[nodiscard]] Result<std::vector<std::string>> look(std::string_view name) const {
    if (by_ == nullptr) return Error{Errc::invalid, "txt: not in a call that may take time"};
    return services_.resolver.txt(name, *by_);
  }

  static void log(void* self, int level, proxycore_str message) {
    constexpr int last = PROXYCORE_LOG_ERROR;
    constexpr LogLevel levels[] = {LogLevel::debug, LogLevel::info, LogLevel::warning,
                                   LogLevel::error};
    const auto& provider = *static_cast<PluginProvider*>(self);
    base::log::write(levels[std::clamp(level, 0, last)], "dns.plugin",
                     {{"type", provider.info_.type},
                      {"says", fit_for_people(view(message), provider.secrets_)}});
  }

  static std::int64_t now_ms(void* /*self*/) { return base::now_ms(); }

  const proxycore_dns_plugin& calls_;
  const ProviderInfo info_;
  const Settings settings_;
  const Services services_;
  std::vector<std::string> secrets_;
  const proxycore_dns_host host_ = {.size = sizeof(proxycore_dns_host),
                                    .abi = PROXYCORE_DNS_ABI,
                                    .self = this,
                                    .setting = setting,
                                    .http = http,
                                    .txt = txt,
                                    .log = log,
                                    .now_ms = now_ms};
  void* self_ = nullptr;
  bool open_ = false;
  const Deadline* by_ = nullptr;  // of the call that the plugin is in
  client::Response response_;     // what the plugin was lent last
  std::vector<proxycore_http_header> headers_;
};

// A text of a plugin's description. Errors: invalid.
Result<std::string> described(const char* text, std::string_view what) {
  if (text == nullptr) return std::string{};
  const std::size_t size = ::strnlen(text, max_text + 1);
  if (size > max_text) {
    return Error{Errc::invalid, fmt::format("its {} is longer than {} bytes", what, max_text)};
  }
  return std::string{text, size};
}

Result<Field> field_of(const proxycore_dns_field& given) {
  Field field;
  field.required = (given.flags & PROXYCORE_DNS_FIELD_OPTIONAL) == 0;
  field.secret = (given.flags & PROXYCORE_DNS_FIELD_SECRET) != 0;
  PX_TRY(field.name, described(given.name, "field's name"));
  PX_TRY(field.label, described(given.label, "field's label"));
  PX_TRY(field.help, described(given.help, "field's help"));
  if (!base::is_token(field.name)) return Error{Errc::invalid, "one of its fields has no name"};
  if (field.label.empty()) field.label = field.name;
  return field;
}

// Reads what a plugin says of itself, no further than it promises.
Result<Loaded> loaded(const proxycore_dns_plugin* plugin) {
  if (plugin == nullptr) {
    return Error{Errc::invalid, fmt::format("it serves no host of ABI {}", PROXYCORE_DNS_ABI)};
  }
  if (plugin->size < sizeof *plugin || plugin->abi == 0) {
    return Error{Errc::invalid, fmt::format("its description has {} bytes; expected {} or more",
                                            plugin->size, sizeof *plugin)};
  }
  if (plugin->open == nullptr || plugin->close == nullptr || plugin->check == nullptr ||
      plugin->zones == nullptr || plugin->add == nullptr || plugin->remove == nullptr) {
    return Error{Errc::invalid, "it lacks one of its functions"};
  }
  if (plugin->field_count > max_fields ||
      (plugin->field_count > 0 && plugin->field_size < sizeof(proxycore_dns_field))) {
    return Error{Errc::invalid, "its list of fields is none"};
  }
  Loaded found{.calls = plugin, .info = {}};
  ProviderInfo& info = found.info;
  PX_TRY(info.type, described(plugin->type, "type"));
  PX_TRY(info.title, described(plugin->title, "title"));
  if (!base::is_token(info.type)) return Error{Errc::invalid, "its type is no name"};
  if (info.title.empty()) info.title = info.type;
  info.several_values = (plugin->flags & PROXYCORE_DNS_SEVERAL_VALUES) != 0;
  if (plugin->propagation_s != 0) info.propagation = Seconds{plugin->propagation_s};
  if (plugin->interval_s != 0) info.interval = Seconds{plugin->interval_s};
  const auto* at = reinterpret_cast<const char*>(plugin->fields);
  for (std::uint32_t i = 0; i < plugin->field_count; ++i, at += plugin->field_size) {
    PX_TRY(Field field, field_of(*reinterpret_cast<const proxycore_dns_field*>(at)));
    info.fields.push_back(std::move(field));
  }
  return found;
}

// Whether somebody else could change what is at `path`. A sticky directory lets others add to it,
// but touch nothing that is not theirs.
Result<void> check_trust(const std::string& path, const struct stat& about, bool sticky_is_enough) {
  if (about.st_uid != 0 && about.st_uid != ::geteuid()) {
    return Error{Errc::denied, fmt::format("{} belongs to user {}; expected root or user {}", path,
                                           about.st_uid, ::geteuid())};
  }
  const bool others_write = (about.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool sticky = sticky_is_enough && (about.st_mode & S_ISVTX) != 0;
  if (others_write && !sticky) {
    return Error{Errc::denied, fmt::format("{} can be written by others (mode {:04o})", path,
                                           about.st_mode & 07777U)};
  }
  return {};
}

Error of_system(const std::string& path, int reason) {
  const Errc code = reason == ENOENT || reason == ENOTDIR ? Errc::not_found
                    : reason == EACCES                    ? Errc::denied
                                                          : Errc::io;
  return {code, fmt::format("{}: {}", path, std::strerror(reason))};
}

Result<const proxycore_dns_plugin*> ask_plugin(const std::string& path) {
  // Never closed: its functions may be running, and its threads, if it has any, know nothing of us.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Error{Errc::invalid, ::dlerror()};
  void* symbol = ::dlsym(library, PROXYCORE_DNS_PLUGIN_SYMBOL);
  if (symbol == nullptr) {
    return Error{Errc::invalid, "it exports no " PROXYCORE_DNS_PLUGIN_SYMBOL};
  }
  const auto describe = reinterpret_cast<proxycore_dns_plugin_fn>(symbol);
  return describe(PROXYCORE_DNS_ABI);
}

}  // namespace

Result<std::string> trusted_file(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return of_system(path, errno);
  const std::string real = resolved;
  struct stat about = {};
  if (::stat(real.c_str(), &about) != 0) return of_system(real, errno);
  if (!S_ISREG(about.st_mode)) return Error{Errc::invalid, real + " is no file"};
  PX_CHECK(check_trust(real, about, false));
  for (std::string above = real; above != "/";) {
    const bool nearest = above.size() == real.size();
    above.resize(std::max<std::size_t>(above.rfind('/'), 1));
    if (::stat(above.c_str(), &about) != 0) return of_system(above, errno);
    PX_CHECK(check_trust(above, about, !nearest));
  }
  return real;
}

Result<void> load_plugin(Registry& registry, const std::string& path) {
  const std::string where = fmt::format("plugin '{}'", path);
  const auto file = trusted_file(path);
  if (!file) return Error{file.error()}.within(where);
  const auto plugin = ask_plugin(*file);
  if (!plugin) return Error{plugin.error()}.within(where);
  auto found = loaded(*plugin);
  if (!found) return std::move(found).error().within(where);
  ProviderInfo info = found->info;
  auto added = registry.add(
      std::move(info),
      [plugin = *std::move(found)](const Settings& settings,
                                   const Services& services) -> Result<std::unique_ptr<Provider>> {
        auto provider = std::make_unique<PluginProvider>(plugin, settings, services);
        PX_CHECK(provider->open());
        return std::unique_ptr<Provider>{std::move(provider)};
      });
  if (!added) return std::move(added).error().within(where);
  return {};
}

}  // namespace proxycore::dns
