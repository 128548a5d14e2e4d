// Records of hosts from a store that others write to.
//
// Input: lines "field=value". Claims: what is read as a host is valid, and is written as a record
// that is read as the same host; a target of it can be used.

#include "host/host_record.h"
#include "host/route_table.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace proxycore;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Record record = {{"host", "a.test"}, {"ip", "127.0.0.1"}, {"targetPort", "80"}};
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::size_t equals = std::min(line.find('='), line.size());
    record.insert_or_assign(std::string(line.substr(0, equals)),
                            std::string(line.substr(std::min(equals + 1, line.size()))));
  }
  auto host = host::host_from(record);
  if (!host) {
    require(host.error().code == Errc::invalid && !host.error().detail.empty(),
            "a refusal is explained");
    return 0;
  }
  require(host->validate().has_value(), "a host that was read is valid");
  const Record written = host::record_of(*host);
  const auto again = host::host_from(written);
  require(again && host::record_of(*again) == written, "a host is read as it was written");

  host::StatsIds ids(1);
  host::RouteTable::Builder builder(ids);
  require(builder.add(*host, "here").has_value(), "a valid host can be routed");
  const auto table = builder.finish();
  require(table->explain("a.test").size() <= 1, "a table of one host has one candidate");
  return 0;
}
