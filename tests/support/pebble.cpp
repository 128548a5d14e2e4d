#include "support/pebble.h"

#include "base/json.h"
#include "support/authority.h"
#include "support/eventually.h"
#include "tls/context.h"

#include <fstream>
#include <sstream>

namespace proxycore::test {

using base::json::Writer;

namespace {
constexpr Millis patience{20'000};

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::string read_file(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// With a trailing dot, as the DNS server wants names.
std::string whole(std::string_view name) {
  return std::string(name) + ".";
}
}  // namespace

Pebble::Pebble(PebbleOptions options) : options_(std::move(options)) {
  const Authority authority({.common_name = "pebble's server"});
  const CertBundle own = authority.issue({.dns = {"localhost"}, .addresses = {"127.0.0.1"}});
  ca_pem_ = authority.pem();
  write_file(dir_.file("cert.pem"), own.chain_pem);
  write_file(dir_.file("key.pem"), own.key_pem);
  client::HttpClient::Options trusting;
  trusting.authorities = tls::Authorities::load(ca_pem_).value();
  trusting_ = std::make_unique<client::HttpClient>(trusting);
  start_dns();
  start();
}

void Pebble::start_dns() {
  for (int tries = 0;; ++tries) {
    REQUIRE_MESSAGE(tries < 20, "pebble-challtestsrv does not start (Debian's package pebble): "
                                    << read_file(dir_.file("dns.log")));
    dns_port_ = free_port();
    dns_api_port_ = free_port();
    dns_ = Program({"pebble-challtestsrv", "-dns01", dns(), "-management",
                    "127.0.0.1:" + std::to_string(dns_api_port_), "-http01", "", "-https01", "",
                    "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""},
                   dir_.file("dns.log"));
    const auto ready = [&] {
      return !dns_.runs() || (listens(dns_port_) && listens(dns_api_port_));
    };
    if (eventually(ready) && dns_.runs()) return;
  }
}

void Pebble::start() {
  const bool first = port_ == 0;
  for (int tries = 0;; ++tries) {
    REQUIRE_MESSAGE(tries < 20, "pebble does not start (Debian's package pebble): " << log());
    if (first) {
      port_ = free_port();
      management_port_ = free_port();
    }
    std::string config;
    Writer writer(config);
    writer.begin_object().key("pebble").begin_object();
    writer.field("listenAddress", "127.0.0.1:" + std::to_string(port_))
        .field("managementListenAddress", "127.0.0.1:" + std::to_string(management_port_))
        .field("certificate", dir_.file("cert.pem"))
        .field("privateKey", dir_.file("key.pem"))
        .field("httpPort", options_.http_port)
        .field("tlsPort", 9)
        .field("ocspResponderURL", "")
        .field("externalAccountBindingRequired", !options_.mac_keys.empty())
        .field("certificateValidityPeriod", options_.validity_days * 86'400);
    writer.key("externalAccountMACKeys").begin_object();
    for (const auto& [id, key] : options_.mac_keys) writer.field(id, key);
    writer.end_object().key("domainBlocklist").begin_array();
    for (const std::string& name : options_.blocked) writer.value(name);
    writer.end_array().end_object().end_object();
    write_file(dir_.file("config.json"), config);
    std::vector<std::pair<std::string, std::string>> environment = {
        {"PEBBLE_WFE_NONCEREJECT", std::to_string(options_.reject_nonces)},
        {"PEBBLE_AUTHZREUSE", std::to_string(options_.reuse_authorizations)},
        {"PEBBLE_ALTERNATE_ROOTS", std::to_string(options_.alternate_roots)},
    };
    if (options_.slow) {
      environment.emplace_back("PEBBLE_VA_SLEEPTIME", "3");
    } else {
      environment.emplace_back("PEBBLE_VA_NOSLEEP", "1");
    }
    pebble_ =
        Program({"pebble", "-config", dir_.file("config.json"), "-strict", "-dnsserver", dns()},
                dir_.file("pebble.log"), environment);
    const auto ready = [&] {
      return !pebble_.runs() || (listens(port_) && listens(management_port_));
    };
    if (eventually(ready) && pebble_.runs()) return;
  }
}

std::string Pebble::directory() const {
  return "https://127.0.0.1:" + std::to_string(port_) + "/dir";
}

std::string Pebble::manage(const std::string& path) {
  const auto answer =
      trusting_->send({.url = "https://127.0.0.1:" + std::to_string(management_port_) + path},
                      Deadline::in(patience));
  REQUIRE_MESSAGE(answer.has_value(), answer.error().message());
  return answer->status == 200 ? answer->body : std::string();
}

std::string Pebble::root(int number) {
  return manage("/roots/" + std::to_string(number));
}

std::string Pebble::status_of(std::string_view serial) {
  const std::string body = manage("/cert-status-by-serial/" + std::string(serial));
  if (body.empty()) return {};
  const auto document = base::json::parse(body);
  REQUIRE(document.has_value());
  return std::string(document->text("Status").value());
}

std::string Pebble::log() const {
  return read_file(dir_.file("pebble.log"));
}

std::string Pebble::dns() const {
  return "127.0.0.1:" + std::to_string(dns_port_);
}

std::string Pebble::dns_api() const {
  return "http://127.0.0.1:" + std::to_string(dns_api_port_);
}

void Pebble::call(std::string_view what, const std::string& json) {
  const auto answer =
      plain_.send({.method = "POST", .url = dns_api() + std::string(what), .body = json},
                  Deadline::in(patience));
  REQUIRE_MESSAGE(answer.has_value(), answer.error().message());
  REQUIRE(answer->status == 200);
}

void Pebble::add_txt(std::string_view name, std::string_view value) {
  std::string json;
  Writer(json).begin_object().field("host", whole(name)).field("value", value).end_object();
  call("/set-txt", json);
}

void Pebble::clear_txt(std::string_view name) {
  std::string json;
  Writer(json).begin_object().field("host", whole(name)).end_object();
  call("/clear-txt", json);
}

void Pebble::set_cname(std::string_view name, std::string_view target) {
  std::string json;
  Writer(json)
      .begin_object()
      .field("host", whole(name))
      .field("target", whole(target))
      .end_object();
  call("/set-cname", json);
}

}  // namespace proxycore::test
