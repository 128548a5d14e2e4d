#include "tls/keys.h"

#include "tls/cert.h"

#include <ctime>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

using namespace proxycore;
using tls::Certificate;
using tls::KeyType;

namespace {

struct Request {
  std::string subject;
  std::string names;
  bool signature_holds = false;
};

// As libcrypto reads it.
Request read_request(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509_REQ* request = PEM_read_bio_X509_REQ(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  REQUIRE(request != nullptr);
  Request read;
  char text[512];
  X509_NAME_oneline(X509_REQ_get_subject_name(request), text, sizeof text);
  read.subject = text;
  EVP_PKEY* key = X509_REQ_get0_pubkey(request);
  read.signature_holds = X509_REQ_verify(request, key) == 1;
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
  auto* names = static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    BIO* out = BIO_new(BIO_s_mem());
    GENERAL_NAME_print(out, sk_GENERAL_NAME_value(names, i));
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out, &bytes);
    read.names += std::string(bytes, static_cast<std::size_t>(size)) + " ";
    BIO_free(out);
  }
  GENERAL_NAMES_free(names);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  X509_REQ_free(request);
  return read;
}

}  // namespace

TEST_CASE("keys: a request has the names and holds (RFC 2986)") {
  for (const KeyType type : {KeyType::ecdsa, KeyType::rsa}) {
    const auto key = tls::generate_key(type);
    REQUIRE(key.has_value());
    const auto csr = tls::make_csr({"A.test", "*.b.test", "192.0.2.1", "[2001:db8::1]"}, *key);
    REQUIRE(csr.has_value());
    const Request read = read_request(*csr);
    CHECK(read.subject == "/CN=A.test");
    CHECK(read.names ==
          "DNS:a.test DNS:*.b.test IP Address:192.0.2.1 IP Address:2001:DB8:0:0:0:0:0:1 ");
    CHECK(read.signature_holds);
  }
}

TEST_CASE("keys: a name that is too long for a common name is an alternative one only") {
  const std::string name = std::string(60, 'a') + ".test";
  const auto key = tls::generate_key(KeyType::ecdsa);
  const Request read = read_request(tls::make_csr({name}, *key).value());
  CHECK(read.subject.empty());
  CHECK(read.names == "DNS:" + name + " ");
}

TEST_CASE("keys: no request without names, with bad ones, or a bad key") {
  const auto key = tls::generate_key(KeyType::ecdsa);
  using Names = std::vector<std::string>;
  for (const Names& names : {Names{}, Names{""}, Names{"a b"}, Names{"*"}, Names{"a.*.test"},
                             Names{"a.test", "x..test"}, Names(101, "a.test")}) {
    const auto csr = tls::make_csr(names, *key);
    REQUIRE_FALSE(csr.has_value());
    CHECK(csr.error().code == Errc::invalid);
  }
  CHECK_FALSE(tls::make_csr({"a.test"}, "no key").has_value());
}

TEST_CASE("keys: a self-signed certificate is for its names and its time") {
  const std::int64_t now = std::time(nullptr);
  const auto bundle = tls::self_signed({.names = {"a.test", "*.a.test", "127.0.0.1", "[::1]"},
                                        .type = KeyType::ecdsa,
                                        .not_before = now - 100,
                                        .not_after = now + 100,
                                        .common_name = "a, \"fallback\"+#"});
  REQUIRE(bundle.has_value());
  const auto certificate = Certificate::load(*bundle);
  REQUIRE(certificate.has_value());
  CHECK((*certificate)->names() ==
        std::vector<std::string>{"a.test", "*.a.test", "127.0.0.1", "[::1]"});
  CHECK((*certificate)->not_before() == now - 100);
  CHECK((*certificate)->not_after() == now + 100);
  CHECK((*certificate)->subject() == "CN=a\\, \\\"fallback\\\"\\+#");
  CHECK((*certificate)->self_signed());
  CHECK(tls::gate(*certificate, "x.a.test", now).has_value());
}

TEST_CASE("keys: the public self_signed() is good for a year") {
  const auto bundle = proxycore::self_signed({"a.test"});
  REQUIRE(bundle.has_value());
  const auto certificate = Certificate::load(*bundle);
  REQUIRE(certificate.has_value());
  const std::int64_t now = std::time(nullptr);
  CHECK(tls::gate(*certificate, "a.test", now).has_value());
  CHECK(tls::gate(*certificate, "a.test", now + 364 * 86'400LL).has_value());
  CHECK_FALSE(proxycore::self_signed({"not a name"}).has_value());
}
