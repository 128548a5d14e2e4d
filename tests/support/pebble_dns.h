// What tests of dns-01 have around a solver: a DNS provider at Pebble's DNS server, and a journal.
//
// Thread: the one that made them.
#pragma once

#include "acme/dns01.h"
#include "dns/names.h"
#include "support/pebble.h"
#include <proxycore/dns_provider.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

// All names are in its zones at Pebble's DNS server.
class PebbleDns final : public dns::Provider {
 public:
  explicit PebbleDns(Pebble& pebble) : pebble_(pebble) {}

  [[nodiscard]] const dns::ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline&) override { return {}; }
  Result<std::vector<dns::Zone>> zones(const Deadline&) override { return zones_; }
  Result<std::string> add(const dns::Zone& zone, const dns::Txt& record, const Deadline&) override {
    if (failure) return *failure;
    const std::string name = dns::whole_name(zone.name, record.name);
    auto& values = values_[name];
    if (!info_.several_values) values.clear();
    values.push_back(record.value);
    most_ = std::max(most_, values.size());
    show(name);
    return std::string("id-") + record.value;
  }
  Result<void> remove(const dns::Zone& zone, const dns::Txt& record, std::string_view id,
                      const Deadline&) override {
    CHECK((id.empty() || id == "id-" + record.value));
    const std::string name = dns::whole_name(zone.name, record.name);
    std::erase(values_[name], record.value);
    show(name);
    if (values_[name].empty()) values_.erase(name);
    return {};
  }

  // Names that have values now.
  [[nodiscard]] std::size_t names() const { return values_.size(); }
  // How many values one name had at once.
  [[nodiscard]] std::size_t most() const { return most_; }
  void hold_one_value() { info_.several_values = false; }

  std::optional<Error> failure = {};

 private:
  void show(const std::string& name) {
    pebble_.clear_txt(name);
    for (const std::string& value : values_[name]) pebble_.add_txt(name, value);
  }

  Pebble& pebble_;
  dns::ProviderInfo info_{.type = "Pebble",
                          .title = "Pebble's DNS server",
                          .propagation = Millis{10'000},
                          .interval = Millis{50}};
  std::vector<dns::Zone> zones_;
  std::map<std::string, std::vector<std::string>> values_;
  std::size_t most_ = 0;
};

class MemoryJournal final : public acme::DnsJournal {
 public:
  Result<void> add(const acme::DnsRecord& record, const Deadline&) override {
    open.push_back(record.account + " " + record.zone.name + " " + record.record.name);
    ++added;
    return {};
  }
  void done(const acme::DnsRecord& record) override {
    const auto found =
        std::find(open.begin(), open.end(),
                  record.account + " " + record.zone.name + " " + record.record.name);
    REQUIRE(found != open.end());
    open.erase(found);
  }

  std::vector<std::string> open;
  int added = 0;
};

}  // namespace proxycore::test
