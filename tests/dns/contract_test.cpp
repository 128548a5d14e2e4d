#include "dns/contract.h"

#include "dns/names.h"
#include "dns/resolver.h"
#include "support/dns_server.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

// A provider with faults to choose from.
struct Faults {
  bool wrong_credentials = false;
  bool lists_nothing = false;
  bool keeps_doubles = false;
  bool replaces = false;
  bool removes_all = false;
  bool complains_of_absence = false;
  bool needs_id = false;
  bool takes_any_zone = false;
  bool ignores_deadlines = false;
  bool cuts = false;
};

class Faulty final : public dns::Provider {
 public:
  explicit Faulty(Faults faults) : faults_(faults) {}

  [[nodiscard]] const dns::ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline&) override {
    if (faults_.wrong_credentials) return Error{Errc::denied, "who are you"};
    return {};
  }
  Result<std::vector<dns::Zone>> zones(const Deadline&) override {
    if (faults_.lists_nothing) return std::vector<dns::Zone>{};
    return std::vector<dns::Zone>{{"other.example"}, {"example.com"}};
  }
  Result<std::string> add(const dns::Zone& zone, const dns::Txt& record,
                          const Deadline& by) override {
    if (by.passed() && !faults_.ignores_deadlines) return Error{Errc::timeout};
    if (zone.name != "example.com" && !faults_.takes_any_zone) return Error{Errc::not_found};
    const Row row{dns::whole_name(zone.name, record.name),
                  faults_.cuts ? record.value.substr(0, 254) : record.value};
    if (faults_.replaces) {
      std::erase_if(rows, [&](const Row& each) { return each.first == row.first; });
    }
    if (faults_.keeps_doubles || std::find(rows.begin(), rows.end(), row) == rows.end()) {
      rows.push_back(row);
    }
    return std::string{"id"};
  }
  Result<void> remove(const dns::Zone& zone, const dns::Txt& record, std::string_view id,
                      const Deadline&) override {
    if (faults_.needs_id && id.empty()) return Error{Errc::invalid, "no id"};
    const std::string name = dns::whole_name(zone.name, record.name);
    const auto gone = std::erase_if(rows, [&](const Row& each) {
      return each.first == name && (faults_.removes_all || each.second == record.value);
    });
    if (gone == 0 && faults_.complains_of_absence) return Error{Errc::not_found, "not there"};
    return {};
  }

  using Row = std::pair<std::string, std::string>;
  std::vector<Row> rows;

 private:
  const Faults faults_;
  const dns::ProviderInfo info_ = {
      .type = "faulty", .title = "Faulty", .propagation = Millis{0}, .interval = Millis{0}};
};

std::set<std::string> broken(Faults faults) {
  Faulty provider(faults);
  provider.rows.emplace_back("example.com", "v=spf1 -all");
  const dns::ContractOptions options{
      .zone = "example.com",
      .values = [&](std::string_view name, const Deadline&) -> Result<std::vector<std::string>> {
        std::vector<std::string> values;
        for (const auto& [owner, value] : provider.rows) {
          if (owner == name) values.push_back(value);
        }
        if (values.empty()) return Error{Errc::not_found};
        return values;
      }};
  std::set<std::string> claims;
  std::size_t told = 0;
  const auto findings = dns::try_contract(
      provider, options, [&](const dns::Finding&) { ++told; }, Deadline::in(Millis{60'000}));
  CHECK(told == findings.size());
  for (const dns::Finding& finding : findings) {
    if (finding.holds) continue;
    CHECK_FALSE(finding.why.empty());
    claims.insert(finding.claim);
  }
  // Whatever else stands in the zone stays.
  if (!faults.removes_all && !faults.replaces) {
    CHECK(std::count(provider.rows.begin(), provider.rows.end(),
                     Faulty::Row{"example.com", "v=spf1 -all"}) == 1);
  }
  return claims;
}

using Claims = std::set<std::string>;

}  // namespace

TEST_CASE("dns contract: a provider without faults keeps it, and nothing is left behind") {
  CHECK(broken({}).empty());
}

TEST_CASE("dns contract: each fault is found") {
  CHECK(broken({.wrong_credentials = true}) == Claims{"the credentials are accepted"});
  CHECK(broken({.lists_nothing = true}) == Claims{"zone 'example.com' is listed"});
  CHECK(broken({.keeps_doubles = true})
            .contains("the same value again is success, and it is there once"));
  CHECK(broken({.replaces = true}).contains("a second value stands beside the first"));
  CHECK(broken({.removes_all = true}).contains("of two values exactly one is removed"));
  CHECK(broken({.complains_of_absence = true})
            .contains("a value that is gone is removed again without complaint"));
  CHECK(broken({.complains_of_absence = true})
            .contains("a value that never was is removed without complaint"));
  CHECK(broken({.needs_id = true}).contains("a value is removed without its id"));
  CHECK(broken({.takes_any_zone = true}) == Claims{"a zone that is not there is an error"});
  CHECK(broken({.ignores_deadlines = true}) == Claims{"a deadline that has passed is a timeout"});
  CHECK(broken({.cuts = true}).contains("a value can have 255 bytes"));
}

TEST_CASE("dns contract: what cannot be looked at is no success") {
  Faulty provider({});
  const auto findings = dns::try_contract(
      provider,
      {.zone = "example.com",
       .values =
           [](std::string_view, const Deadline&) {
             return Result<std::vector<std::string>>{Error{Errc::refused, "no server"}};
           }},
      {}, Deadline::in(Millis{60'000}));
  CHECK(std::count_if(findings.begin(), findings.end(),
                      [](const dns::Finding& finding) { return !finding.holds; }) >= 8);
  CHECK(provider.rows.empty());
}

TEST_CASE("dns contract: what servers of a zone do not agree on is not told yet") {
  test::DnsServer one;
  test::DnsServer other;
  dns::Resolver resolver{{.servers = {one.text()}, .authoritative = {one.text(), other.text()}}};
  const dns::Values values = dns::values_by(resolver);
  const Deadline by = Deadline::in(Millis{10'000});
  one.set("a.example.com", {"x", "y"});
  other.set("a.example.com", {"y"});
  const auto differ = values("a.example.com", by);
  REQUIRE_FALSE(differ);
  CHECK(differ.error().code == Errc::busy);
  CHECK(differ.error().detail.find(other.text()) != std::string::npos);
  other.set("a.example.com", {"y", "x"});
  const auto agreed = values("a.example.com", by);
  REQUIRE(agreed);
  CHECK(*agreed == std::vector<std::string>{"x", "y"});
  const auto none = values("b.example.com", by);
  REQUIRE(none);
  CHECK(none->empty());
}
