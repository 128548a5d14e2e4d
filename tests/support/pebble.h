// Pebble: a real ACME server for tests, with its test DNS server, both Debian's package pebble, on
// free loopback ports. It forgets everything when it is restarted, and is killed when it dies.
//
// Every name resolves to 127.0.0.1; proofs of http-01 are asked for on a port of the test's choice.
// Where the program is not installed, the test fails and says so. Thread: the one that made it.
#pragma once

#include "client/http_client.h"
#include "support/program.h"
#include "support/temp_dir.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

struct PebbleOptions {
  std::uint16_t http_port = 9;   // where proofs of http-01 are asked for
  int reject_nonces = 0;         // percent
  int reuse_authorizations = 0;  // percent
  int alternate_roots = 0;
  int validity_days = 90;
  bool slow = false;                                 // takes its time to look at challenges
  std::vector<std::string> blocked = {};             // names that it refuses
  std::map<std::string, std::string> mac_keys = {};  // base64url, by key id; accounts need one then
};

class Pebble {
 public:
  explicit Pebble(PebbleOptions options);
  Pebble() : Pebble(PebbleOptions{}) {}
  Pebble(const Pebble&) = delete;
  Pebble& operator=(const Pebble&) = delete;

  // With SIGKILL; the DNS server goes on.
  void stop() { pebble_.kill(); }
  // On the same ports, without accounts, orders and certificates, and with another root.
  void start();

  [[nodiscard]] std::string directory() const;
  // Whom its TLS certificate is signed by.
  [[nodiscard]] const std::string& ca_pem() const { return ca_pem_; }
  // The root of what it issues; `number` up to alternate_roots.
  std::string root(int number = 0);
  // "Valid", "Revoked", or "" (not known). `serial`: hex.
  std::string status_of(std::string_view serial);
  // What it said since it was made.
  [[nodiscard]] std::string log() const;

  // The DNS server, over UDP and TCP: "127.0.0.1:1234".
  [[nodiscard]] std::string dns() const;
  // The API that its records are changed by: "http://127.0.0.1:1234".
  [[nodiscard]] std::string dns_api() const;
  void add_txt(std::string_view name, std::string_view value);
  // All of that name.
  void clear_txt(std::string_view name);
  void set_cname(std::string_view name, std::string_view target);

 private:
  void start_dns();
  void call(std::string_view what, const std::string& json);
  std::string manage(const std::string& path);

  const PebbleOptions options_;
  const TempDir dir_;
  std::string ca_pem_;
  std::uint16_t port_ = 0;
  std::uint16_t management_port_ = 0;
  std::uint16_t dns_port_ = 0;
  std::uint16_t dns_api_port_ = 0;
  client::HttpClient plain_;
  std::unique_ptr<client::HttpClient> trusting_;  // its certificate
  Program dns_;
  Program pebble_;
};

}  // namespace proxycore::test
