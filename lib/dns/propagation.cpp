#include "dns/propagation.h"

#include "base/pause.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr Millis one_server{3'000};  // one that is dead must not take the others' time

// What a server lacks, in words; empty: nothing.
std::string lacks(const Result<std::vector<std::string>>& found,
                  std::span<const std::string> values) {
  if (!found) return found.error().message();
  const auto missing = std::count_if(values.begin(), values.end(), [&](const std::string& value) {
    return std::find(found->begin(), found->end(), value) == found->end();
  });
  if (missing == 0) return {};
  return fmt::format("it lacks {} of {} values, and has {} in all", missing, values.size(),
                     found->size());
}

}  // namespace

Result<Sighting> look(Resolver& resolver, std::span<const Server> servers, std::string_view name,
                      std::span<const std::string> values, const Deadline& by) {
  Sighting sighting;
  for (const Server& server : servers) {
    const Deadline soon{std::min(by.at(), Deadline::Clock::now() + one_server), by.stop()};
    const auto found = resolver.txt_at(server, name, soon);
    if (by.cancelled()) return Error{Errc::cancelled};
    if (!found && found.error().code == Errc::invalid) return found.error();
    if (!found && found.error().code == Errc::io) continue;  // no route
    ++sighting.servers;
    const std::string lack = lacks(found, values);
    if (lack.empty()) {
      ++sighting.seen;
    } else if (sighting.missing.empty()) {
      sighting.missing = server.text() + ": " + lack;
    }
  }
  return sighting;
}

Result<void> await_txt(Resolver& resolver, std::string_view name,
                       std::span<const std::string> values, Millis interval, const Deadline& by) {
  std::vector<Server> servers;
  std::string why;
  // What is found out while the time runs out says less than what was known before.
  const auto note = [&](std::string text) {
    if (why.empty() || !by.passed()) why = std::move(text);
  };
  for (;;) {
    // The servers are found once; while they cannot be, that is what is told.
    if (servers.empty()) {
      auto found = resolver.servers_for(name, by);
      if (!found && found.error().code == Errc::invalid) return std::move(found).error();
      if (found) {
        servers = *std::move(found);
      } else {
        note(found.error().message());
      }
    }
    PX_TRY(const Sighting sighting, look(resolver, servers, name, values, by));
    if (sighting.complete()) return {};
    if (!sighting.missing.empty()) {
      note(fmt::format("{} of {} servers have it; {}", sighting.seen, sighting.servers,
                       sighting.missing));
    }
    if (auto paused = base::pause(interval, by); !paused) {
      if (paused.error().code != Errc::timeout) return paused;
      return Error{Errc::timeout,
                   fmt::format("dns: '{}': {}", name, why.empty() ? "nobody could be asked" : why)};
    }
  }
}

}  // namespace proxycore::dns
