#include "dns/resolver.h"

#include "base/file.h"
#include "base/text.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <netinet/in.h>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::uint16_t dns_port = 53;
constexpr std::size_t max_servers = 8;
constexpr std::string_view system_file = "/etc/resolv.conf";
constexpr std::size_t max_system_file = 1 << 20;

std::optional<io::Address> parse_address(std::string_view text) {
  std::uint16_t port = dns_port;
  const std::size_t colon = text.rfind(':');
  const bool has_port = colon != std::string_view::npos &&
                        (text.find(':') == colon || (colon > 0 && text[colon - 1] == ']'));
  if (has_port) {
    const auto number = base::parse_decimal(text.substr(colon + 1), 65'535);
    if (!number || *number == 0) return std::nullopt;
    port = static_cast<std::uint16_t>(*number);
    text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  return io::Address::parse(text, port);
}

Result<std::vector<Server>> parse_servers(const std::vector<std::string>& texts) {
  std::vector<Server> servers;
  for (const std::string& text : texts) {
    const auto address = parse_address(text);
    if (!address) {
      return Error{Errc::invalid,
                   fmt::format("dns server {}: expected an address, with a port or without, like "
                               "'192.0.2.1' or '[::1]:53'",
                               base::shown(text))};
    }
    servers.push_back({address->text(), *address});
  }
  return servers;
}

// resolv.conf(5): without any, the one on this machine.
std::vector<Server> system_servers() {
  std::vector<Server> servers;
  const auto file = base::read_file(std::string(system_file), max_system_file);
  std::string_view rest = file ? std::string_view(*file) : std::string_view();
  while (!rest.empty() && servers.size() < max_servers) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    constexpr std::string_view keyword = "nameserver";
    if (!line.starts_with(keyword)) continue;
    line = base::trim(line.substr(keyword.size()));
    const auto address = io::Address::parse(line, dns_port);
    if (address) servers.push_back({address->text(), *address});
  }
  if (servers.empty()) {
    const io::Address here = *io::Address::parse("127.0.0.1", dns_port);
    servers.push_back({here.text(), here});
  }
  return servers;
}

// Of an A or AAAA record.
std::optional<io::Address> address_of(const std::string& bytes) {
  if (bytes.size() == sizeof(in_addr)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(dns_port);
    std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    return io::Address(reinterpret_cast<const sockaddr&>(v4));
  }
  if (bytes.size() == sizeof(in6_addr)) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(dns_port);
    std::memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
    return io::Address(reinterpret_cast<const sockaddr&>(v6));
  }
  return std::nullopt;
}

Deadline at_most(const Deadline& by, Millis span) {
  return {std::min(by.at(), Deadline::Clock::now() + span), by.stop()};
}

Error no_such(std::string_view what, std::string_view name) {
  return {Errc::not_found, fmt::format("dns: {} has no {}", base::shown(name), what)};
}

// The end of the chain that the answer itself shows.
Result<std::string> end_of_chain(const Message& answer, std::string name) {
  for (int steps = 0; steps <= Resolver::max_chain; ++steps) {
    const auto link = std::find_if(
        answer.answers.begin(), answer.answers.end(),
        [&](const Record& record) { return record.type == Type::cname && record.name == name; });
    if (link == answer.answers.end()) return name;
    name = link->data;
  }
  return Error{Errc::limit,
               fmt::format("dns: over {} CNAMEs from {}", Resolver::max_chain, base::shown(name))};
}

std::vector<std::string> data_of(const Message& answer, std::string_view name, Type type) {
  std::vector<std::string> all;
  for (const Record& record : answer.answers) {
    if (record.type == type && record.name == name) all.push_back(record.data);
  }
  return all;
}

}  // namespace

std::string Server::text() const {
  const std::string where = address.text();
  return name == where ? where : fmt::format("{} ({})", name, where);
}

Resolver::Resolver(const Options& options)
    : servers_(options.servers.empty() ? Result<std::vector<Server>>(system_servers())
                                       : parse_servers(options.servers)),
      authoritative_(parse_servers(options.authoritative)) {}

// The first server that can tell.
Result<Message> Resolver::ask(std::string_view name, Type type, const Deadline& by) {
  if (!servers_) return servers_.error();
  Error why{Errc::timeout, "dns: no time to ask"};
  for (const Server& server : *servers_) {
    if (by.cancelled()) return Error{Errc::cancelled};
    if (by.passed()) break;
    auto answer =
        exchange_.ask(server.address, {std::string(name), type}, true, at_most(by, patience));
    if (answer && (answer->rcode == Rcode::ok || answer->rcode == Rcode::no_such_name)) {
      return answer;
    }
    if (answer) {
      // A server that does not do a type of records has none of it.
      const bool has_none = answer->rcode == Rcode::not_implemented;
      why = Error{has_none ? Errc::not_found : Errc::busy,
                  fmt::format("dns server {}: {} for {}", server.text(), name_of(answer->rcode),
                              base::shown(name))};
    } else {
      why = std::move(answer).error();
    }
    if (why.code == Errc::cancelled || why.code == Errc::invalid) break;
  }
  return why;
}

// What the records of that type at the end of the name's chain say.
Result<std::vector<std::string>> Resolver::names(std::string_view name, Type type,
                                                 const Deadline& by) {
  std::string at(name);
  for (int steps = 0; steps <= max_chain; ++steps) {
    PX_TRY(const Message answer, ask(at, type, by));
    PX_TRY(std::string end, end_of_chain(answer, at));
    auto found = data_of(answer, end, type);
    if (!found.empty()) return found;
    // A server that does not recurse tells the chain only as far as it knows.
    if (end == at || answer.rcode == Rcode::no_such_name) return std::vector<std::string>{};
    at = std::move(end);
  }
  return Error{Errc::limit,
               fmt::format("dns: over {} CNAMEs from {}", max_chain, base::shown(name))};
}

Result<std::vector<std::string>> Resolver::txt(std::string_view name, const Deadline& by) {
  PX_TRY(auto values, names(name, Type::txt, by));
  if (values.empty()) return no_such("TXT record", name);
  return values;
}

Result<std::string> Resolver::follow(std::string_view name, const Deadline& by) {
  std::string at(name);
  for (int steps = 0; steps <= max_chain; ++steps) {
    PX_TRY(const Message answer, ask(at, Type::cname, by));
    const auto next = data_of(answer, at, Type::cname);
    if (next.empty()) return at;
    at = next.front();
  }
  return Error{Errc::limit,
               fmt::format("dns: over {} CNAMEs from {}", max_chain, base::shown(name))};
}

// A server that is asked for a name's SOA shows that of the zone either as the answer, or beside
// the word that there is none; what belongs to a CNAME's target is somewhere else.
Result<std::string> Resolver::zone_of(std::string_view name, const Deadline& by) {
  for (std::string_view at = name; !at.empty(); at = parent_of(at)) {
    PX_TRY(const Message answer, ask(at, Type::soa, by));
    for (const auto* section : {&answer.answers, &answer.authority}) {
      for (const Record& record : *section) {
        if (record.type == Type::soa && !record.name.empty() && is_within(at, record.name)) {
          return record.name;
        }
      }
    }
  }
  return no_such("zone", name);
}

Result<std::vector<Server>> Resolver::servers_of(std::string_view zone, const Deadline& by) {
  if (!authoritative_ || !authoritative_->empty()) return authoritative_;
  PX_TRY(const auto hosts, names(zone, Type::ns, by));
  std::vector<Server> servers;
  Error why = no_such("name server", zone);
  for (const std::string& host : hosts) {
    for (const Type type : {Type::a, Type::aaaa}) {
      auto found = names(host, type, by);
      if (!found) {
        if (by.passed() || by.cancelled()) return std::move(found).error();
        why = std::move(found).error();  // another one may do
        continue;
      }
      for (const std::string& bytes : *found) {
        const auto address = address_of(bytes);
        if (address && servers.size() < max_zone_servers) servers.push_back({host, *address});
      }
    }
  }
  if (servers.empty()) return why;
  return servers;
}

Result<std::vector<Server>> Resolver::servers_for(std::string_view name, const Deadline& by) {
  if (!authoritative_ || !authoritative_->empty()) return authoritative_;
  const auto zone = zone_of(name, by);
  if (!zone) {
    if (zone.error().code == Errc::not_found) return servers_;
    return zone.error();
  }
  auto servers = servers_of(*zone, by);
  if (!servers && servers.error().code == Errc::not_found) return servers_;
  return servers;
}

Result<std::vector<std::string>> Resolver::txt_at(const Server& server, std::string_view name,
                                                  const Deadline& by) {
  PX_TRY(const Message answer, exchange_.ask(server.address, {std::string(name), Type::txt}, true,
                                             at_most(by, patience)));
  if (answer.rcode != Rcode::ok && answer.rcode != Rcode::no_such_name) {
    return Error{Errc::busy, "it says " + name_of(answer.rcode)};
  }
  auto values = data_of(answer, name, Type::txt);
  if (values.empty()) return Error{Errc::not_found, "it has no TXT record there"};
  return values;
}

}  // namespace proxycore::dns
