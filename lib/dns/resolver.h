// Resolver: a DNS client for what getaddrinfo(3) cannot tell: TXT records, ends of CNAME chains,
// zones and their servers.
//
// Questions go to recursive servers, those of the system unless others are configured; look() and
// propagation ask a zone's own servers. Answers are not cached and DNSSEC is not checked: what
// matters here is what servers say now. Names are canonical, without a dot at the end.
// Source: RFC 1034 §3.6.2, §4.2; RFC 8555 §8.4. Thread: one call at a time; blocks.
#pragma once

#include "dns/exchange.h"
#include "dns/message.h"
#include "io/address.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

struct Server {
  std::string name;  // of the NS record; or its address where it has no name
  io::Address address;

  [[nodiscard]] std::string text() const;  // "ns1.example (192.0.2.1:53)"
};

class Resolver {
 public:
  struct Options {
    // "192.0.2.1", "127.0.0.1:53", "[::1]:53"; empty: those of /etc/resolv.conf.
    std::vector<std::string> servers = {};
    // Asked in place of each zone's own servers (split DNS, tests); empty: those are found.
    std::vector<std::string> authoritative = {};
  };
  static constexpr int max_chain = 16;                 // CNAMEs
  static constexpr std::size_t max_zone_servers = 32;  // addresses
  static constexpr Millis patience{5'000};             // with one server before the next is asked

  Resolver() : Resolver(Options{}) {}
  // A server that is no address is told by each call (invalid).
  explicit Resolver(const Options& options);

  // Errors of all: not_found (no such name, or no such record), invalid (the name), limit
  // (max_chain), busy (the servers say that they cannot tell), and those of Exchange.
  // The values at the end of the name's CNAME chain, each joined from its strings.
  Result<std::vector<std::string>> txt(std::string_view name, const Deadline& by);
  // The end of the CNAME chain that begins with `name`, which need not exist; itself if none does.
  Result<std::string> follow(std::string_view name, const Deadline& by);
  // The closest zone that holds `name`.
  Result<std::string> zone_of(std::string_view name, const Deadline& by);
  // Every address of every server of that zone.
  Result<std::vector<Server>> servers_of(std::string_view zone, const Deadline& by);

  // Whom to ask about a name's records: the servers of its zone; the recursive ones where no zone
  // is found. Never empty.
  Result<std::vector<Server>> servers_for(std::string_view name, const Deadline& by);
  // The TXT values that this server has at that very name. not_found: none.
  Result<std::vector<std::string>> txt_at(const Server& server, std::string_view name,
                                          const Deadline& by);

 private:
  Result<Message> ask(std::string_view name, Type type, const Deadline& by);
  Result<std::vector<std::string>> names(std::string_view name, Type type, const Deadline& by);

  Result<std::vector<Server>> servers_;
  Result<std::vector<Server>> authoritative_;
  Exchange exchange_;
};

}  // namespace proxycore::dns
