#include "tls/cert.h"

#include "support/authority.h"
#include "tls/keys.h"

#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using test::Authority;
using test::lone;
using tls::Certificate;
using tls::KeyType;

namespace {

std::shared_ptr<const Certificate> loaded(const CertBundle& bundle) {
  auto read = Certificate::load(bundle);
  if (!read) FAIL(read.error().message());
  return *std::move(read);
}

std::string why_not(const CertBundle& bundle) {
  const auto read = Certificate::load(bundle);
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().code == Errc::invalid);
  return read.error().detail;
}

std::string refused(const std::shared_ptr<const Certificate>& certificate, std::string_view name,
                    std::int64_t now) {
  const auto passed = tls::gate(certificate, name, now);
  REQUIRE_FALSE(passed.has_value());
  CHECK(passed.error().code == Errc::invalid);
  return passed.error().detail;
}

std::int64_t seconds() {
  return std::time(nullptr);
}

}  // namespace

TEST_CASE("cert: a chain is read, with what it says") {
  const Authority root({.common_name = "Root"});
  const Authority middle(root, {.common_name = "Middle", .key = "P-384"});
  const auto certificate = loaded(middle.issue(
      {.dns = {"A.test", "*.b.test", "a.test"}, .addresses = {"192.0.2.1", "2001:db8::1"}}));
  CHECK(certificate->key_type() == KeyType::ecdsa);
  CHECK(certificate->names() ==
        std::vector<std::string>{"a.test", "*.b.test", "192.0.2.1", "[2001:db8::1]"});
  CHECK(certificate->chain_length() == 2);
  CHECK(certificate->issuer() == "CN=Middle");
  CHECK(certificate->subject() == "CN=test");
  CHECK(certificate->serial().size() == 16);
  CHECK(certificate->fingerprint().size() == 64);
  CHECK_FALSE(certificate->self_signed());
  CHECK(std::abs(certificate->not_before() - seconds()) < 60);
  CHECK(certificate->not_after() - certificate->not_before() == 86'400);
}

TEST_CASE("cert: keys of every kind that is served are taken, in every form") {
  for (const std::string kind : {"P-256", "P-384", "rsa:2048", "rsa:3072"}) {
    CAPTURE(kind);
    const auto certificate = loaded(lone({.dns = {"a.test"}, .key = kind}));
    CHECK(certificate->key_type() == (kind.starts_with("rsa") ? KeyType::rsa : KeyType::ecdsa));
    CHECK(certificate->self_signed());
    CHECK(tls::gate(certificate, "a.test", seconds()).has_value());
  }
  // keys.h writes PKCS #1 and SEC 1.
  for (const KeyType type : {KeyType::ecdsa, KeyType::rsa}) {
    const auto made = tls::self_signed({.names = {"a.test"},
                                        .type = type,
                                        .not_before = seconds() - 60,
                                        .not_after = seconds() + 60});
    REQUIRE(made.has_value());
    CHECK(tls::gate(loaded(*made), "a.test", seconds()).has_value());
  }
}

TEST_CASE("cert: keys that are not served are refused by name") {
  CHECK(why_not(lone({.key = "rsa:1024"})) ==
        "certificate 1 of the chain: an RSA key of 1024 bits; expected 2048 to 8192");
  for (const std::string kind : {"P-521", "secp256k1", "brainpoolP256r1"}) {
    CAPTURE(kind);
    CHECK(why_not(lone({.key = kind})) ==
          "certificate 1 of the chain: its key is neither RSA nor of the curves P-256 and P-384");
  }
  CHECK(why_not(lone({.key = "ed25519"})).starts_with("certificate 1 of the chain: "));
}

TEST_CASE("cert: the key has to be that of the first certificate") {
  for (const std::string kind : {"P-256", "P-384", "rsa:2048"}) {
    CAPTURE(kind);
    CertBundle bundle = lone({.key = "P-256"});
    bundle.key_pem = test::make_key(kind);
    CHECK(why_not(bundle) == "the private key is not that of certificate 1 of the chain");
  }
  CertBundle bundle = lone({});
  const std::string key = bundle.key_pem;
  for (const std::string& bad : {std::string(), std::string("no key"), key.substr(0, 100),
                                 key.substr(0, key.size() / 2) + "-----END PRIVATE KEY-----\n"}) {
    bundle.key_pem = bad;
    const std::string why = why_not(bundle);
    CAPTURE(why);
    CHECK(why.find(key.substr(40, 12)) == std::string::npos);
  }
}

TEST_CASE("cert: the chain has to be whole and in order") {
  const Authority root({.common_name = "Root"});
  const Authority middle(root, {.common_name = "Middle"});
  const Authority lower(middle, {.common_name = "Lower"});
  const Authority namesake({.common_name = "Lower"});
  const CertBundle good = lower.issue({.dns = {"a.test"}});
  const std::string leaf = good.chain_pem.substr(0, good.chain_pem.find(lower.pem()));
  const auto with = [&](const std::string& chain) { return CertBundle{chain, good.key_pem}; };

  CHECK(loaded(good)->chain_length() == 3);
  CHECK(loaded(with(leaf))->chain_length() == 1);  // an incomplete one may still be of use
  CHECK(loaded(with("Bag Attributes\n" + leaf + "\n# more\n" + lower.pem() + middle.pem() +
                    root.pem()))
            ->chain_length() == 4);
  CHECK(why_not(with("")) == "no PEM certificate in the chain");
  CHECK(why_not(with(leaf.substr(0, leaf.size() - 30))) == "no PEM certificate in the chain");
  CHECK(why_not(with(leaf + lower.pem().substr(0, 200))) ==
        "certificate 2 of the chain: its end is missing");
  CHECK(why_not(with(leaf + middle.pem())) ==
        "certificate 1 of the chain: it is not signed by the next, but by 'CN=Lower'; the next is "
        "'CN=Middle'");
  CHECK(why_not(with(leaf + lower.pem() + root.pem()))
            .starts_with("certificate 2 of the chain: it is not signed by the next"));
  CHECK(why_not(with(leaf + namesake.pem()))
            .starts_with("certificate 1 of the chain: it is not signed by the next"));
  CHECK(why_not(with(lower.pem() + leaf)).find("certificate 1 of the chain") == 0);
  std::string broken = lower.pem();
  broken[100] = broken[100] == 'A' ? 'B' : 'A';
  CHECK(why_not(with(leaf + broken)).find("of the chain: ") != std::string::npos);
  std::string many = leaf;
  for (int i = 0; i < 10; ++i) many += lower.pem();
  CHECK(why_not(with(many)) == "the chain has over 10 certificates");
  CHECK(why_not(with(std::string(300 << 10, ' ') + leaf)) == "the chain has over 256 KiB");
}

TEST_CASE("cert: names are matched as RFC 9525 says") {
  const auto certificate = loaded(lone({.dns = {"a.test", "*.b.test", "xn--bcher-kva.test"},
                                        .addresses = {"192.0.2.1", "2001:db8::1"},
                                        .common_name = "cn.test"}));
  for (const std::string_view name :
       {"a.test", "x.b.test", "xn--bcher-kva.test", "192.0.2.1", "[2001:db8::1]", "_x.b.test"}) {
    CAPTURE(name);
    CHECK(certificate->matches(name));
  }
  // No common name beside alternative ones, no wildcard for two labels or none.
  for (const std::string_view name : {"cn.test", "b.test", "x.y.b.test", ".b.test", "", "x.a.test",
                                      "192.0.2.2", "[2001:db8::2]", "*.b.test"}) {
    CAPTURE(name);
    CHECK(certificate->matches(name) == (name == "*.b.test"));
  }
  CHECK(loaded(lone({.common_name = "CN.test"}))->names() == std::vector<std::string>{"cn.test"});
  CHECK(loaded(lone({.common_name = "An Organisation"}))->names().empty());
  CHECK_FALSE(tls::covers("*.2.1", "9.2.1"));
}

TEST_CASE("cert: the gate says why it stays closed") {
  const auto now = seconds();
  const auto good = loaded(lone({.dns = {"a.test", "*.b.test"}}));
  CHECK(tls::gate(good, "", now).has_value());
  CHECK(tls::gate(good, "x.b.test", now).has_value());
  CHECK(tls::gate(good, "*.b.test", now).has_value());
  CHECK(refused(good, "c.test", now) == "it does not cover 'c.test' but 'a.test' '*.b.test'");
  CHECK(refused(good, "*.a.test", now).starts_with("it does not cover '*.a.test'"));
  CHECK(refused(good, "a.test", now - 3600).starts_with("it is not valid before "));
  CHECK(refused(good, "a.test", now + 100'000).starts_with("it has expired on "));
  const auto client = loaded(lone({.dns = {"a.test"}, .extended_key_usage = "clientAuth"}));
  CHECK(refused(client, "a.test", now).starts_with("a handshake with it fails: "));
  const auto agreement = loaded(lone({.dns = {"a.test"}, .key_usage = "keyAgreement"}));
  CHECK(refused(agreement, "a.test", now).starts_with("a handshake with it fails: "));
}

TEST_CASE("cert: certificates of one authority come and go on many threads") {
  const Authority root({.common_name = "Root"});
  const Authority middle(root, {.common_name = "Middle"});
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([bundle = middle.issue({.dns = {"a.test"}})] {
      for (int round = 0; round < 20; ++round) {
        const auto read = Certificate::load(bundle);
        if (!read || (*read)->chain_length() != 2) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}
