// Whether what was put into a zone is there: on each of the servers that a CA may ask.
//
// Not here: putting it there (Provider), when to go on without (acme/dns01).
// Source: RFC 8555 §8.4. Thread: as the Resolver; blocks.
#pragma once

#include "dns/resolver.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace proxycore::dns {

// One look at all servers.
struct Sighting {
  std::size_t servers = 0;   // that could be asked at all
  std::size_t seen = 0;      // of those: that have all values
  std::string missing = {};  // the first that has not, and what it says; empty: none

  [[nodiscard]] bool complete() const noexcept { return servers > 0 && seen == servers; }
};

// Asks these servers for the TXT values at `name` itself. One that this machine has no route to (an
// IPv6 address, where there is only IPv4) is left out. Errors: invalid (the name), timeout,
// cancelled.
Result<Sighting> look(Resolver& resolver, std::span<const Server> servers, std::string_view name,
                      std::span<const std::string> values, const Deadline& by);

// Looks every `interval` until all servers of the name's zone have all values.
// Errors: timeout (says who did not have them, and what it said), cancelled, invalid.
Result<void> await_txt(Resolver& resolver, std::string_view name,
                       std::span<const std::string> values, Millis interval, const Deadline& by);

}  // namespace proxycore::dns
