#include "dns/contract.h"

#include "base/pause.h"
#include "dns/names.h"
#include "dns/resolver.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace proxycore::dns {

namespace {

// What begins every value of ours: a name may have others, which are not looked at.
constexpr std::string_view mark = "proxycore-test-";
constexpr std::string_view test_name = "_acme-challenge.proxycore-test";

class Trial {
 public:
  Trial(Provider& provider, const ContractOptions& options,
        const std::function<void(const Finding&)>& told, const Deadline& by)
      : provider_(provider), options_(options), told_(told), by_(by) {}

  std::vector<Finding> run() {
    claim("the credentials are accepted", provider_.check(by_));
    if (!claim(fmt::format("zone '{}' is listed", options_.zone), find_zone())) return findings_;
    values_at_one_name();
    for (const auto& [where, relative] :
         {std::pair{"the zone itself", std::string{apex}},
          std::pair{"a deep name", std::string{"_acme-challenge.a.b.c.proxycore-test"}},
          std::pair{"an internationalized name",
                    std::string{"_acme-challenge.xn--bcher-kva.proxycore-test"}}}) {
      const Txt record = txt(relative, "place");
      claim(fmt::format("{} can have a value", where), added_and_removed(record));
    }
    Txt longest = txt(test_name, "");
    longest.value.resize(255, 'x');
    claim("a value can have 255 bytes", added_and_removed(longest));
    refusals();
    clean_up();
    return findings_;
  }

 private:
  static Txt txt(std::string_view relative, std::string_view value) {
    return {.name = std::string{relative}, .value = fmt::format("{}{}", mark, value)};
  }

  bool claim(std::string text, const Result<void>& outcome) {
    Finding finding{.claim = std::move(text), .holds = outcome.has_value()};
    if (!outcome) finding.why = outcome.error().message();
    findings_.push_back(std::move(finding));
    if (told_) told_(findings_.back());
    return outcome.has_value();
  }

  Result<void> find_zone() {
    PX_TRY(const std::vector<Zone> zones, provider_.zones(by_));
    const auto found = std::find_if(zones.begin(), zones.end(),
                                    [&](const Zone& zone) { return zone.name == options_.zone; });
    if (found == zones.end()) return Error{Errc::not_found, "it is not"};
    zone_ = *found;
    return {};
  }

  Result<std::string> add(const Txt& record) {
    used_.push_back(record);
    return provider_.add(zone_, record, by_);
  }

  void values_at_one_name() {
    const bool several = provider_.info().several_values;
    const Txt first = txt(test_name, "first");
    const Txt second = txt(test_name, "second");
    const Txt never = txt(test_name, "never");
    std::string id;
    claim("a value is added", [&]() -> Result<void> {
      PX_TRY(id, add(first));
      return are(test_name, {first});
    }());
    claim("the same value again is success, and it is there once", [&]() -> Result<void> {
      PX_CHECK(add(first));
      return are(test_name, {first});
    }());
    if (several) {
      claim("a second value stands beside the first", [&]() -> Result<void> {
        PX_CHECK(add(second));
        return are(test_name, {first, second});
      }());
      claim("of two values exactly one is removed", [&]() -> Result<void> {
        PX_CHECK(provider_.remove(zone_, first, id, by_));
        return are(test_name, {second});
      }());
    } else {
      claim("a second value takes the place of the first", [&]() -> Result<void> {
        PX_CHECK(add(second));
        return are(test_name, {second});
      }());
      claim("removing a value that another has replaced leaves that", [&]() -> Result<void> {
        PX_CHECK(provider_.remove(zone_, first, id, by_));
        return are(test_name, {second});
      }());
    }
    claim("a value that is gone is removed again without complaint", [&]() -> Result<void> {
      PX_CHECK(provider_.remove(zone_, first, id, by_));
      return are(test_name, {second});
    }());
    if (several) {
      claim("a value that never was is removed without complaint", [&]() -> Result<void> {
        PX_CHECK(provider_.remove(zone_, never, {}, by_));
        return are(test_name, {second});
      }());
    }
    claim("a value is removed without its id", [&]() -> Result<void> {
      PX_CHECK(provider_.remove(zone_, second, {}, by_));
      return are(test_name, {});
    }());
  }

  Result<void> added_and_removed(const Txt& record) {
    PX_TRY(const std::string id, add(record));
    PX_CHECK(are(record.name, {record}));
    PX_CHECK(provider_.remove(zone_, record, id, by_));
    return are(record.name, {});
  }

  void refusals() {
    const Zone unknown{.name = "proxycore-test.invalid", .id = {}};
    const auto added = provider_.add(unknown, txt(test_name, "unknown"), by_);
    claim("a zone that is not there is an error",
          added ? Error{Errc::invalid, "a value was added to proxycore-test.invalid"}
                : Result<void>{});

    const Deadline passed{Deadline::Clock::now(), by_.stop()};
    const Txt late = txt(test_name, "late");
    used_.push_back(late);
    const auto tried = provider_.add(zone_, late, passed);
    claim("a deadline that has passed is a timeout",
          !tried && tried.error().code == Errc::timeout
              ? Result<void>{}
              : Error{Errc::invalid, tried ? "a value was added" : tried.error().message()});
  }

  // A value that somebody has removed meanwhile is success, so this may try them all.
  void clean_up() {
    Result<void> outcome;
    for (const Txt& record : used_) {
      if (auto removed = provider_.remove(zone_, record, {}, by_); !removed) {
        outcome = std::move(removed);
      }
    }
    claim("nothing is left behind", outcome);
  }

  // Looks until our values of the name are `expected`, in any order.
  Result<void> are(std::string_view relative, const std::vector<Txt>& expected) {
    std::vector<std::string> wanted;
    wanted.reserve(expected.size());
    for (const Txt& record : expected) wanted.push_back(record.value);
    std::sort(wanted.begin(), wanted.end());
    const std::string whole = whole_name(zone_.name, relative);
    const auto until = Deadline::Clock::now() + provider_.info().propagation;
    for (;;) {
      const auto seen = options_.values(whole, by_);
      const bool none = !seen && seen.error().code == Errc::not_found;
      const bool unclear = !seen && seen.error().code == Errc::busy;
      if (!seen && !none && !unclear) return seen.error();
      std::vector<std::string> ours = seen.value_or(std::vector<std::string>{});
      ours.erase(std::remove_if(ours.begin(), ours.end(),
                                [](const std::string& value) { return !value.starts_with(mark); }),
                 ours.end());
      std::sort(ours.begin(), ours.end());
      if (ours == wanted && !unclear) return {};
      if (Deadline::Clock::now() >= until) {
        if (unclear) return seen.error();
        return Error{Errc::invalid, fmt::format("{}: expected [{}], found [{}]", whole,
                                                fmt::join(wanted, ", "), fmt::join(ours, ", "))};
      }
      PX_CHECK(base::pause(provider_.info().interval, by_));
    }
  }

  Provider& provider_;
  const ContractOptions& options_;
  const std::function<void(const Finding&)>& told_;
  const Deadline& by_;
  Zone zone_;
  std::vector<Txt> used_;
  std::vector<Finding> findings_;
};

}  // namespace

Values values_by(Resolver& resolver) {
  return
      [&resolver](std::string_view name, const Deadline& by) -> Result<std::vector<std::string>> {
        PX_TRY(const std::vector<Server> servers, resolver.servers_for(name, by));
        std::optional<std::vector<std::string>> agreed;
        for (const Server& server : servers) {
          auto values = resolver.txt_at(server, name, by);
          if (!values && values.error().code == Errc::not_found)
            values = std::vector<std::string>{};
          if (!values) return std::move(values).error();
          std::sort(values->begin(), values->end());
          if (agreed && *agreed != *values) {
            return Error{Errc::busy, fmt::format("{} does not say the same as {}", server.text(),
                                                 servers.front().text())};
          }
          agreed = *std::move(values);
        }
        return agreed.value_or(std::vector<std::string>{});
      };
}

std::vector<Finding> try_contract(Provider& provider, const ContractOptions& options,
                                  const std::function<void(const Finding&)>& told,
                                  const Deadline& by) {
  return Trial(provider, options, told, by).run();
}

}  // namespace proxycore::dns
