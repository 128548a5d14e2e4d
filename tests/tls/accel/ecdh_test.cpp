#include "support/mbedtls_builtin.h"
#include "tls/accel/driver.h"
#include "tls/accel/providers.h"
#include "tls/accel/start.h"

#include <array>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

const psa_key_attributes_t x25519 =
    attributes_of(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_MONTGOMERY), 255);
const psa_key_attributes_t p256 =
    attributes_of(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1), 256);

struct Answer {
  psa_status_t status;
  Octets bytes;
  bool operator==(const Answer&) const = default;
};

template <class Export>
Answer public_key(Export by, const psa_key_attributes_t& curve, const Octets& key) {
  Octets out(65);
  std::size_t size = 0;
  const psa_status_t status = by(&curve, key.data(), key.size(), out.data(), out.size(), &size);
  out.resize(status == PSA_SUCCESS ? size : 0);
  return {status, out};
}

template <class Agree>
Answer secret(Agree by, const psa_key_attributes_t& curve, const Octets& key, const Octets& peer) {
  Octets out(32);
  std::size_t size = 0;
  const psa_status_t status = by(&curve, key.data(), key.size(), PSA_ALG_ECDH, peer.data(),
                                 peer.size(), out.data(), out.size(), &size);
  out.resize(status == PSA_SUCCESS ? size : 0);
  return {status, out};
}

Octets generated(const psa_key_attributes_t& curve) {
  Octets key(32);
  std::size_t size = 0;
  REQUIRE(proxycore_generate_key(&curve, key.data(), key.size(), &size) == PSA_SUCCESS);
  REQUIRE(size == 32);
  return key;
}

Octets unhex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Octets octets;
  for (std::size_t i = 0; i < text.size(); i += 2)
    octets.push_back(static_cast<std::uint8_t>(16 * digit(text[i]) + digit(text[i + 1])));
  return octets;
}

}  // namespace

TEST_CASE("ecdh: key pairs and secrets are those of mbedTLS") {
  tls::start_crypto();
  for (const psa_key_attributes_t& curve : {x25519, p256}) {
    for (int round = 0; round < 12; ++round) {
      const Octets key = generated(curve);
      const Octets other = generated(curve);
      const Answer ours = public_key(proxycore_export_public_key, curve, key);
      CHECK(ours.status == PSA_SUCCESS);
      CHECK(ours == public_key(mbedtls_psa_ecp_export_public_key, curve, key));
      const Octets peer = public_key(proxycore_export_public_key, curve, other).bytes;
      const Answer here = secret(proxycore_key_agreement, curve, key, peer);
      CHECK(here.status == PSA_SUCCESS);
      CHECK(here == secret(mbedtls_psa_key_agreement_ecdh, curve, key, peer));
      CHECK(here == secret(proxycore_key_agreement, curve, other, ours.bytes));
    }
  }
}

TEST_CASE("ecdh: every provider of X25519 computes the same, and RFC 7748's example") {
  // RFC 7748 §5.2, the first vector.
  const Octets scalar = unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
  const Octets point = unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
  const Octets product = unhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
  for (const tls::X25519 by : {tls::X25519::libcrypto, tls::best_x25519()}) {
    Octets out(32);
    CHECK(tls::x25519_secret(by, scalar.data(), point.data(), out.data()) == PSA_SUCCESS);
    CHECK(out == product);
    for (int round = 0; round < 20; ++round) {
      const Octets key = generated(x25519);
      CHECK(tls::x25519_public(by, key.data(), out.data()) == PSA_SUCCESS);
      Octets expected(32);
      CHECK(tls::x25519_public(tls::X25519::libcrypto, key.data(), expected.data()) == PSA_SUCCESS);
      CHECK(out == expected);
      // The top bit of a point does not count.
      Octets peer = random_octets(32);
      peer[31] |= 0x80;
      const psa_status_t status = tls::x25519_secret(by, key.data(), peer.data(), out.data());
      CHECK(Answer{status, out} == secret(mbedtls_psa_key_agreement_ecdh, x25519, key, peer));
    }
  }
}

TEST_CASE("ecdh: points of low order are invalid (RFC 7748 §6.1)") {
  const std::array<std::string_view, 7> low_order = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"};
  const Octets key = generated(x25519);
  for (const std::string_view text : low_order) {
    const Octets peer = unhex(text);
    const Answer invalid{PSA_ERROR_INVALID_ARGUMENT, {}};
    CHECK(secret(proxycore_key_agreement, x25519, key, peer) == invalid);
    for (const tls::X25519 by : {tls::X25519::libcrypto, tls::best_x25519()}) {
      Octets out(32);
      CHECK(tls::x25519_secret(by, key.data(), peer.data(), out.data()) == invalid.status);
    }
  }
}

TEST_CASE("ecdh: only uncompressed points on the curve are taken (RFC 8446 §4.2.8.2)") {
  const Octets key = generated(p256);
  const Octets good = public_key(proxycore_export_public_key, p256, generated(p256)).bytes;
  REQUIRE(good.size() == 65);
  const auto refused = [&key](const psa_key_attributes_t& curve, const Octets& peer) {
    return secret(proxycore_key_agreement, curve, key, peer) ==
           Answer{PSA_ERROR_INVALID_ARGUMENT, {}};
  };
  Octets off = good;
  off[64] ^= 1;
  CHECK(refused(p256, off));
  Octets too_big = good;
  for (int i = 1; i <= 32; ++i) too_big[static_cast<std::size_t>(i)] = 0xff;
  CHECK(refused(p256, too_big));
  CHECK(refused(p256, Octets(65)));
  CHECK(refused(p256, Octets(1)));
  CHECK(refused(p256, {}));
  for (std::size_t size = 1; size < 65; ++size)
    CHECK(refused(p256, Octets(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))));
  Octets longer = good;
  longer.push_back(0);
  CHECK(refused(p256, longer));
  const std::uint8_t parity = good[64] & 1;
  Octets hybrid = good;
  hybrid[0] = static_cast<std::uint8_t>(6 | parity);
  CHECK(refused(p256, hybrid));
  Octets compressed(good.begin(), good.begin() + 33);
  compressed[0] = static_cast<std::uint8_t>(2 | parity);
  CHECK(refused(p256, compressed));
  for (const int first : {0, 1, 5, 8, 0x84}) {
    Octets other = good;
    other[0] = static_cast<std::uint8_t>(first);
    CHECK(refused(p256, other));
  }
  for (const std::size_t size : {0U, 1U, 31U, 33U, 65U})
    CHECK(refused(x25519, random_octets(size)));
}

TEST_CASE("ecdh: what the driver does not do is left to mbedTLS") {
  Octets key(66);
  std::size_t size = 0;
  for (const auto& [family, bits] :
       {std::pair{PSA_ECC_FAMILY_SECP_R1, 384U}, std::pair{PSA_ECC_FAMILY_SECP_K1, 256U},
        std::pair{PSA_ECC_FAMILY_MONTGOMERY, 448U}}) {
    const psa_key_attributes_t other = attributes_of(PSA_KEY_TYPE_ECC_KEY_PAIR(family), bits);
    CHECK(proxycore_generate_key(&other, key.data(), key.size(), &size) == PSA_ERROR_NOT_SUPPORTED);
    CHECK(secret(proxycore_key_agreement, other, key, key).status == PSA_ERROR_NOT_SUPPORTED);
  }
  const psa_key_attributes_t only_public =
      attributes_of(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), 256);
  CHECK(public_key(proxycore_export_public_key, only_public, Octets(65)).status ==
        PSA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("ecdh: nothing is written where there is no room") {
  const Octets key = generated(p256);
  Octets small(31, 7);
  std::size_t size = 0;
  for (const psa_key_attributes_t& curve : {x25519, p256}) {
    CHECK(proxycore_generate_key(&curve, small.data(), 31, &size) == PSA_ERROR_BUFFER_TOO_SMALL);
    CHECK(proxycore_export_public_key(&curve, key.data(), 32, small.data(), 31, &size) ==
          PSA_ERROR_BUFFER_TOO_SMALL);
    CHECK(proxycore_key_agreement(&curve, key.data(), 32, PSA_ALG_ECDH, key.data(), 32,
                                  small.data(), 31, &size) == PSA_ERROR_BUFFER_TOO_SMALL);
  }
  CHECK(small == Octets(31, 7));
}
