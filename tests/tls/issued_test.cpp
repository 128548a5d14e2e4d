#include "tls/issued.h"

#include "base/text.h"
#include "support/authority.h"
#include "tls/cert.h"
#include "tls/keys.h"

#include <doctest/doctest.h>

using namespace proxycore;
using test::Authority;

namespace {
// Its authority key identifier and its serial number are those of the example in RFC 9773 §4.1.
constexpr char example[] = R"(-----BEGIN CERTIFICATE-----
MIIBiDCCAS2gAwIBAgIFAIdlQyEwCgYIKoZIzj0EAwIwFTETMBEGA1UEAwwKRXhh
bXBsZSBDQTAeFw0yNjExMjMxMjE3NTRaFw0yNzAyMjExMjE3NTRaMBYxFDASBgNV
BAMMC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMR82Qn8c
NZJYrpdonoA93LYQsua5Tk1AaXsJBjZf9oKg1jELOAUN3HqDJSpTlOTiEhXvpDrF
CdrV0zKB6mk/vKNpMGcwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4ByNQw
JQYDVR0RBB4wHIILZXhhbXBsZS5jb22CDSouZXhhbXBsZS5jb20wHQYDVR0OBBYE
FO50US21kTnCR2tRzTn664981/n6MAoGCCqGSM49BAMCA0kAMEYCIQDDkpFAaRDo
c5z8GiZ5qvJAYnsFWy3/oo1viuBZ0bGgbgIhAPdEvWZcDrJ+ei0uXH4au0+Xsr/i
H6VHw7wkMr/tK+vA
-----END CERTIFICATE-----
)";
}  // namespace

TEST_CASE("issued: what a renewal is asked about by, as the certificate has it (RFC 9773 §4.1)") {
  const auto issued = tls::read_issued(example);
  REQUIRE(issued.has_value());
  CHECK(base::base64url(issued->authority_key_id) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ");
  CHECK(base::base64url(issued->serial) == "AIdlQyE");
  CHECK(issued->names == std::vector<std::string>{"example.com", "*.example.com"});
  CHECK(issued->not_after - issued->not_before == 90 * 86'400);
  CHECK(issued->issuers == std::vector<std::string>{"Example CA"});
  CHECK(issued->certificate_der == tls::der_of(example, "CERTIFICATE").value());
}

TEST_CASE("issued: a chain is put in order, and loses its root") {
  const Authority root({.common_name = "root"});
  const Authority upper(root, {.common_name = "upper"});
  const Authority lower(upper, {.common_name = "lower"});
  const CertBundle bundle = lower.issue({.dns = {"a.test"}});
  const std::string leaf = bundle.chain_pem.substr(0, bundle.chain_pem.find("-----BEGIN", 1));
  for (const std::string& sent :
       {leaf + lower.pem() + upper.pem(), leaf + upper.pem() + lower.pem(),
        leaf + root.pem() + upper.pem() + lower.pem(), lower.pem() + leaf + upper.pem()}) {
    const auto issued = tls::read_issued(sent);
    REQUIRE(issued.has_value());
    CHECK(issued->chain_pem == bundle.chain_pem);
    CHECK(issued->issuers == std::vector<std::string>{"lower", "upper", "root"});
    CHECK(tls::Certificate::load({issued->chain_pem, bundle.key_pem}).has_value());
  }
  const auto alone = tls::read_issued(leaf);
  REQUIRE(alone.has_value());
  CHECK(alone->chain_pem == leaf);
}

TEST_CASE("issued: what is no chain is refused") {
  CHECK_FALSE(tls::read_issued("").has_value());
  CHECK_FALSE(tls::read_issued("<html>").has_value());
  CHECK_FALSE(tls::read_issued(std::string(257 << 10, 'x')).has_value());
  std::string many;
  for (int i = 0; i < 11; ++i) many += example;
  CHECK_FALSE(tls::read_issued(many).has_value());
  CHECK_FALSE(tls::read_issued(std::string(example) +
                               "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                  .has_value());
}

TEST_CASE("issued: PEM is taken off what is in it") {
  const auto csr =
      tls::make_csr({"a.test"}, tls::generate_key(tls::KeyType::ecdsa).value()).value();
  const auto der = tls::der_of(csr, "CERTIFICATE REQUEST");
  REQUIRE(der.has_value());
  CHECK((*der)[0] == 0x30);
  CHECK(tls::der_of("-----BEGIN X-----\r\n Zg\t==\r\n-----END X-----", "X").value() == "f");
  for (const char* bad : {"", "-----BEGIN X-----", "-----BEGIN X-----\n-----END X-----",
                          "-----BEGIN X-----\n???\n-----END X-----"}) {
    CHECK(tls::der_of(bad, "X").error().code == Errc::invalid);
  }
}
