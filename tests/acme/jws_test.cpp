#include "acme/jws.h"

#include "base/json.h"
#include "base/text.h"
#include "support/authority.h"
#include "tls/digest.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;

namespace {
struct Parts {
  std::string header;
  std::string payload;
  std::string signature;
  std::string signed_text;
};

Parts take_apart(const std::string& jws) {
  const auto document = base::json::parse(jws);
  REQUIRE_MESSAGE(document.has_value(), jws);
  CHECK(document->object()->size() == 3);  // no "header", no "signatures"
  const std::string header(document->text("protected").value());
  const std::string payload(document->text("payload").value());
  return {base::parse_base64(header).value(), base::parse_base64(payload).value(),
          base::parse_base64(document->text("signature").value()).value(), header + "." + payload};
}
}  // namespace

TEST_CASE("jws: either the key itself or the account's url (RFC 8555 §6.2)") {
  const auto signer = tls::Signer::load(test::make_key("P-256"));
  REQUIRE(signer.has_value());
  Parts parts = take_apart(
      sign_jws(*signer, {.url = "https://ca.test/new", .nonce = "abc"}, R"({"a":1})").value());
  CHECK(parts.header == R"({"alg":"ES256","jwk":)" + signer->jwk() +
                            R"(,"nonce":"abc","url":"https://ca.test/new"})");
  CHECK(parts.payload == R"({"a":1})");
  CHECK(parts.signature.size() == 64);

  parts = take_apart(
      sign_jws(*signer, {.url = "https://ca.test/x", .nonce = "n", .key_id = "https://ca.test/me"},
               "")
          .value());
  CHECK(parts.header ==
        R"({"alg":"ES256","kid":"https://ca.test/me","nonce":"n","url":"https://ca.test/x"})");
  CHECK(parts.payload.empty());

  parts = take_apart(sign_jws(*signer, {.url = "https://ca.test/x"}, "{}").value());
  CHECK(parts.header.find("nonce") == std::string::npos);
}

TEST_CASE("jws: an external account signs the account's key (RFC 8555 §7.3.4)") {
  const std::string jwk = R"({"crv":"P-256","kty":"EC","x":"a","y":"b"})";
  const auto bound = bind_account({"kid-1", "c2VjcmV0IGtleQ"}, jwk, "https://ca.test/new-account");
  REQUIRE(bound.has_value());
  const Parts parts = take_apart(*bound);
  CHECK(parts.header == R"({"alg":"HS256","kid":"kid-1","url":"https://ca.test/new-account"})");
  CHECK(parts.payload == jwk);
  CHECK(parts.signature == tls::hmac(tls::Hash::sha256, "secret key", parts.signed_text).value());
  // Some CAs give the key in the other alphabet, or padded.
  CHECK(bind_account({"kid-1", "c2VjcmV0IGtleQ=="}, jwk, "https://ca.test/new-account").value() ==
        *bound);
  for (const char* bad : {"", "not base64!"}) {
    const auto refused = bind_account({"kid-1", bad}, jwk, "https://ca.test/");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::invalid);
    CHECK(refused.error().detail.find("not base64!") == std::string::npos);
  }
}
