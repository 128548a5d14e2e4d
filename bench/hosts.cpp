// Fills a store with many hosts, h000000.example.test and on, all with the same target: the table
// of the million-hosts case. Records as the store's layout has them, many in one write.
#include <proxycore/proxycore.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_hosts STORE_URL COUNT TARGET_PORT\n");
    return 2;
  }
  const auto fail = [](const proxycore::Error& error) {
    std::fprintf(stderr, "bench_hosts: %s\n", error.message().c_str());
    return 1;
  };
  const auto store = proxycore::open_store(argv[1]);
  if (!store) return fail(store.error());
  constexpr long at_once = 50'000;
  const long count = std::strtol(argv[2], nullptr, 10);
  for (long i = 0; i < count;) {
    std::vector<std::pair<std::string, proxycore::Record>> records;
    for (const long end = std::min(count, i + at_once); i < end; ++i) {
      std::string name = std::to_string(i);
      name.insert(0, 6 - std::min<std::size_t>(6, name.size()), '0');
      name = "h" + name + ".example.test";
      records.emplace_back(
          "proxy_Host_" + name,
          proxycore::Record{
              {"host", name}, {"ip", "127.0.0.1"}, {"targetPort", argv[3]}, {"forcessl", "false"}});
    }
    const auto by = proxycore::Deadline::in(proxycore::Millis{120'000});
    if (auto saved = (*store)->put_all(records, {}, by); !saved) return fail(saved.error());
  }
  return 0;
}
