// store_tool: changes the hosts of a store from outside the proxy, for the end-to-end tests.
//
//   store_tool URL
//
// Reads commands from stdin, one a line, and answers each on stdout once it is done: "ok", or
// "error ..." with the reason.
//   save HOST ADDRESS PORT
//   remove HOST
#include <proxycore/host.h>
#include <proxycore/store.h>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

namespace {

using proxycore::Deadline;
using proxycore::Errc;
using proxycore::Error;
using proxycore::Millis;
using proxycore::Result;
using proxycore::Store;

Result<void> run(Store& store, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  proxycore::Host host;
  words >> verb >> host.host;
  const Deadline by = Deadline::in(Millis{20'000});
  if (verb == "save") {
    host.forcessl = false;
    if (!(words >> host.ip >> host.target_port)) {
      return Error{Errc::invalid, "expected: save HOST ADDRESS PORT"};
    }
    return save(store, host, by);
  }
  if (verb == "remove") {
    PX_TRY(const bool was_there, remove_host(store, host.host, by));
    if (!was_there) return Error{Errc::not_found, host.host};
    return {};
  }
  return Error{Errc::invalid, "expected save or remove, found '" + verb + "'"};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: store_tool URL\n", stderr);
    return 2;
  }
  auto store = proxycore::open_store(argv[1]);
  if (!store) {
    std::fprintf(stderr, "store_tool: %s\n", store.error().message().c_str());
    return 1;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    auto done = run(**store, line);
    std::printf("%s\n", done ? "ok" : ("error " + done.error().message()).c_str());
    std::fflush(stdout);
  }
  return 0;
}
