#include "tls/signer.h"

#include "base/json.h"
#include "base/text.h"
#include "support/authority.h"
#include "tls/keys.h"

#include <memory>
#include <string>

#include <doctest/doctest.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

using namespace proxycore;
using tls::Signer;

namespace {

// A key whose public part is known: d, x and y of RFC 7515 appendix A.3.1.
constexpr char known_key[] = R"(-----BEGIN EC PRIVATE KEY-----
MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49
AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b
focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END EC PRIVATE KEY-----
)";

// As libcrypto sees it.
bool holds(const std::string& key_pem, const std::string& data, std::string signature) {
  BIO* bio = BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  REQUIRE(key != nullptr);
  const EVP_MD* hash = EVP_sha256();
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
    if (EVP_PKEY_get_bits(key) == 384) hash = EVP_sha384();
    const auto* bytes = reinterpret_cast<const unsigned char*>(signature.data());
    const int half = static_cast<int>(signature.size() / 2);
    ECDSA_SIG* pair = ECDSA_SIG_new();
    ECDSA_SIG_set0(pair, BN_bin2bn(bytes, half, nullptr), BN_bin2bn(bytes + half, half, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(pair, &der);
    signature.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
  }
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool good =
      EVP_DigestVerifyInit(context, nullptr, hash, nullptr, key) == 1 &&
      EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), reinterpret_cast<const unsigned char*>(data.data()),
                       data.size()) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  return good;
}

}  // namespace

TEST_CASE("signer: each kind of key signs as JWS has it (RFC 7518 §3)") {
  const std::pair<const char*, const char*> kinds[] = {
      {"P-256", "ES256"}, {"P-384", "ES384"}, {"rsa:2048", "RS256"}};
  for (const auto& [kind, algorithm] : kinds) {
    const std::string key = test::make_key(kind);
    const auto signer = Signer::load(key);
    REQUIRE(signer.has_value());
    CHECK(signer->algorithm() == algorithm);
    for (int i = 0; i < 20; ++i) {  // r or s begins with zeros now and then
      const std::string data = "some text " + std::to_string(i);
      const auto signature = signer->sign(data);
      REQUIRE(signature.has_value());
      CHECK(signature->size() == (signer->algorithm() == "ES256"   ? 64U
                                  : signer->algorithm() == "ES384" ? 96U
                                                                   : 256U));
      CHECK(holds(key, data, *signature));
      CHECK_FALSE(holds(key, "another", *signature));
    }
  }
}

TEST_CASE("signer: the public key is a JWK with its members in order (RFC 7638 §3.2)") {
  const auto signer = Signer::load(known_key);
  REQUIRE(signer.has_value());
  CHECK(signer->jwk() == R"({"crv":"P-256","kty":"EC",)"
                         R"("x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                         R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})");
  const auto rsa = Signer::load(test::make_key("rsa:2048"));
  REQUIRE(rsa.has_value());
  CHECK(rsa->jwk().starts_with(R"({"e":"AQAB","kty":"RSA","n":")"));
  const auto read = base::json::parse(rsa->jwk());
  REQUIRE(read.has_value());
  CHECK(base::parse_base64(read->text("n").value()).value().size() == 256);
}

TEST_CASE("signer: a thumbprint is the hash of that (RFC 7638 §3)") {
  const auto signer = Signer::load(*tls::generate_key(tls::KeyType::ecdsa));
  REQUIRE(signer.has_value());
  CHECK(signer->thumbprint().size() == 43);
  Signer moved = Signer::load(known_key).value();
  CHECK(moved.thumbprint() == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

TEST_CASE("signer: what is no key, or none that is accepted, is refused without its bytes") {
  for (const std::string& pem : {std::string("nonsense"), test::make_key("P-521"),
                                 test::make_key("rsa:1024"), test::make_key("ed25519")}) {
    const auto signer = Signer::load(pem);
    REQUIRE_FALSE(signer.has_value());
    CHECK(signer.error().code == Errc::invalid);
    CHECK(signer.error().detail.find("MI") == std::string::npos);
  }
}
