// KnotServer: a real authoritative DNS server (Debian's package knot) of a test's own: on a free
// loopback port, with zones of the test, which takes updates signed by a key.
//
// Where the program is not installed, the test fails and says so. Thread: the one that made it.
#pragma once

#include "dns/exchange.h"
#include "io/address.h"
#include "support/program.h"
#include "support/temp_dir.h"
#include <proxycore/deadline.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include <doctest/doctest.h>

namespace proxycore::test {

class KnotServer {
 public:
  static constexpr const char* key_name = "updates.test";
  // "a secret of thirty-two bytes....", as base64.
  static constexpr const char* secret = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4=";

  // Zone -> its records beside SOA and NS, as in a zone file.
  using Zones = std::map<std::string, std::string>;

  explicit KnotServer(const Zones& zones, const std::string& algorithm = "hmac-sha256") {
    std::ostringstream config;
    config << "server:\n  rundir: " << dir_.path() << "\n  udp-workers: 1\n  tcp-workers: 1\n"
           << "  background-workers: 1\n  listen: 127.0.0.1@";
    std::ostringstream rest;
    rest << "\nlog:\n  - target: stderr\n    any: info\n"
         << "database:\n  storage: " << dir_.path() << "\n"
         << "key:\n  - id: " << key_name << "\n    algorithm: " << algorithm
         << "\n    secret: " << secret << "\n"
         << "acl:\n  - id: updates\n    key: " << key_name << "\n    action: update\n"
         << "template:\n  - id: default\n    storage: " << dir_.path()
         << "\n    journal-content: none\n    zonefile-sync: -1\n    file: \"%s.zone\"\n"
         << "zone:\n";
    for (const auto& [name, records] : zones) {
      rest << "  - domain: " << name << "\n    acl: updates\n";
      std::ofstream(dir_.file(name + ".zone"))
          << "$ORIGIN " << name << ".\n$TTL 60\n@ SOA ns admin 1 60 60 600 60\n@ NS ns\n"
          << "ns A 127.0.0.1\n"
          << records;
    }
    // Somebody else may take a free port before the server does.
    for (int tries = 0; !ready(zones.begin()->first); ++tries) {
      REQUIRE_MESSAGE(tries < 20, "knotd does not start (Debian's package knot)");
      port_ = free_port();
      std::ofstream(dir_.file("knot.conf")) << config.str() << port_ << rest.str();
      program_ = Program({"knotd", "-c", dir_.file("knot.conf")}, dir_.file("log"));
    }
  }
  KnotServer(const KnotServer&) = delete;
  KnotServer& operator=(const KnotServer&) = delete;

  [[nodiscard]] std::string text() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] io::Address address() const { return *io::Address::parse("127.0.0.1", port_); }
  // What it has to say about itself.
  [[nodiscard]] std::string log() const {
    std::ostringstream all;
    all << std::ifstream(dir_.file("log")).rdbuf();
    return all.str();
  }

 private:
  // Waits until it answers for that zone. false: it has ended, or was not begun.
  bool ready(const std::string& zone) {
    while (program_.runs()) {
      dns::Exchange exchange;
      const auto answer =
          exchange.ask(address(), {zone, dns::Type::soa}, false, Deadline::in(Millis{200}));
      if (answer && answer->rcode == dns::Rcode::ok && answer->authoritative) return true;
      std::this_thread::yield();
    }
    return false;
  }

  const TempDir dir_;
  std::uint16_t port_ = 0;
  Program program_;
};

}  // namespace proxycore::test
