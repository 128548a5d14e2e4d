#include "dns/rfc2136.h"

#include "base/clock.h"
#include "base/text.h"
#include "dns/names.h"

#include <string>
#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::string_view default_algorithm = "hmac-sha256";
constexpr std::uint16_t dns_port = 53;

Error wrong(std::string_view setting, std::string_view expected) {
  return {Errc::invalid, fmt::format("rfc2136: {}: expected {}", setting, expected)};
}

// With a port or without.
Result<Target> parse_server(const std::string& text) {
  if (auto target = Target::parse(text)) return target;
  auto target = Target::parse(fmt::format("{}:{}", text, dns_port));
  if (!target && text.find(':') != std::string::npos) {
    target = Target::parse(fmt::format("[{}]:{}", text, dns_port));
  }
  if (!target) return wrong("server", "a name or an address, with a port or without");
  return target;
}

Result<std::vector<Zone>> parse_zones(std::string_view text) {
  std::vector<Zone> zones;
  while (!text.empty()) {
    const std::string_view name = base::next_member(text);
    if (name.empty()) continue;
    auto canonical = HostName::canonical(name);
    if (!canonical) return std::move(canonical).error().within("rfc2136: zones");
    zones.push_back({.name = *std::move(canonical)});
  }
  if (zones.empty()) return wrong("zones", "names of zones, with commas between");
  return zones;
}

// What a server that takes our signature has against the update (RFC 2136 §2.2).
Error refusal(Rcode code, std::string_view zone) {
  const std::string name = name_of(code);
  switch (code) {
    case Rcode::refused:
      return {Errc::denied, fmt::format("{}: the key is not allowed to update '{}'", name, zone)};
    case Rcode::not_authoritative:
      return {Errc::not_found, fmt::format("{}: the server does not serve '{}'", name, zone)};
    case Rcode::not_in_zone:
      return {Errc::not_found, fmt::format("{}: the name is not in '{}'", name, zone)};
    case Rcode::not_implemented:
      return {Errc::invalid, name + ": the server takes no updates"};
    case Rcode::format_error:
      return {Errc::invalid, name + ": the server does not take the record"};
    default:
      return {Errc::io, fmt::format("{}: the server cannot update '{}' now", name, zone)};
  }
}

Change change_of(Change::What what, const Zone& zone, const Txt& record) {
  return {what, whole_name(zone.name, record.name), record.value, record.ttl};
}

}  // namespace

ProviderInfo Rfc2136::describe() {
  return {.type = "rfc2136",
          .title = "Own DNS server (RFC 2136)",
          .fields = {{.name = "server",
                      .label = "Primary server",
                      .help = "name or address, and port if it is not 53: ns1.example.com"},
                     {.name = "zones",
                      .label = "Zones",
                      .help = "those that the key may update, with commas between"},
                     {.name = "key_name", .label = "Name of the TSIG key"},
                     {.name = "algorithm",
                      .label = "Algorithm",
                      .required = false,
                      .help = "hmac-sha256 unless given"},
                     {.name = "secret", .label = "Secret of the key, base64", .secret = true}},
          .propagation = Millis{120'000},
          .interval = Millis{2'000}};
}

Result<std::unique_ptr<Provider>> Rfc2136::make(const Settings& settings) {
  const auto setting = [&](std::string_view name) {
    const auto found = settings.find(name);
    return found == settings.end() ? std::string{} : found->second;
  };
  PX_TRY(Target server, parse_server(setting("server")));
  PX_TRY(std::vector<Zone> zones, parse_zones(setting("zones")));
  const std::string algorithm = setting("algorithm");
  auto key = TsigKey::create(setting("key_name"),
                             algorithm.empty() ? default_algorithm : std::string_view(algorithm),
                             setting("secret"));
  if (!key) return std::move(key).error().within("rfc2136");
  return std::unique_ptr<Provider>(
      new Rfc2136(std::move(server), std::move(zones), *std::move(key)));
}

Rfc2136::Rfc2136(Target server, std::vector<Zone> zones, TsigKey key)
    : server_(std::move(server)), zones_(std::move(zones)), key_(std::move(key)) {}

Result<void> Rfc2136::check(const Deadline& by) {
  for (const Zone& zone : zones_) {
    PX_CHECK(update(zone.name, {}, by));
  }
  return {};
}

Result<std::vector<Zone>> Rfc2136::zones(const Deadline&) {
  return zones_;
}

Result<std::string> Rfc2136::add(const Zone& zone, const Txt& record, const Deadline& by) {
  PX_CHECK(update(zone.name, {change_of(Change::What::add, zone, record)}, by));
  return std::string{};
}

Result<void> Rfc2136::remove(const Zone& zone, const Txt& record, std::string_view,
                             const Deadline& by) {
  return update(zone.name, {change_of(Change::What::remove, zone, record)}, by);
}

Result<void> Rfc2136::update(std::string_view zone, const std::vector<Change>& changes,
                             const Deadline& by) {
  const auto send = [&]() -> Result<void> {
    PX_TRY(const std::string message, make_update(Exchange::random_id(), zone, changes));
    PX_TRY(const TsigKey::Signed request, key_.sign(message, base::now_s()));
    PX_TRY(const auto addresses, io::resolve(server_.name, server_.port, by));
    Result<std::string> wire = Error{};
    for (const io::Address& address : addresses) {
      wire = exchange_.send(address, request.wire, by);
      if (wire || by.passed() || by.cancelled()) break;
    }
    if (!wire) return std::move(wire).error();
    PX_TRY(const Message answer, Message::parse(*wire));
    if (!answer.response || std::string_view(*wire).substr(0, 2) != message.substr(0, 2)) {
      return Error{Errc::protocol, "an answer to something else"};
    }
    // Servers that cannot tell who asks answer without signature: all they can do is refuse.
    if (!answer.signature && answer.rcode != Rcode::ok) return refusal(answer.rcode, zone);
    PX_CHECK(key_.verify(*wire, answer, request.mac, base::now_s()));
    if (answer.rcode != Rcode::ok) return refusal(answer.rcode, zone);
    return {};
  };
  auto done = send();
  if (!done) return std::move(done).error().within("rfc2136: " + server_.text());
  return done;
}

}  // namespace proxycore::dns
