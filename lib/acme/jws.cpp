#include "acme/jws.h"

#include "base/json.h"
#include "base/text.h"
#include "tls/digest.h"

namespace proxycore::acme {

using base::json::Writer;

namespace {
std::string flattened(std::string_view header, std::string_view payload,
                      std::string_view signature) {
  std::string text;
  Writer(text)
      .begin_object()
      .field("protected", header)
      .field("payload", payload)
      .field("signature", base::base64url(signature))
      .end_object();
  return text;
}
}  // namespace

Result<std::string> sign_jws(const tls::Signer& key, const JwsHeader& header,
                             std::string_view payload) {
  std::string text;
  Writer writer(text);
  writer.begin_object().field("alg", key.algorithm());
  if (header.key_id.empty()) {
    writer.key("jwk").raw(key.jwk());
  } else {
    writer.field("kid", header.key_id);
  }
  if (!header.nonce.empty()) writer.field("nonce", header.nonce);
  writer.field("url", header.url).end_object();
  const std::string first = base::base64url(text);
  const std::string second = base::base64url(payload);
  PX_TRY(const std::string signature, key.sign(first + "." + second));
  return flattened(first, second, signature);
}

Result<std::string> bind_account(const ExternalAccount& external, std::string_view jwk,
                                 std::string_view url) {
  const auto mac_key = base::parse_base64(external.mac_key);
  if (!mac_key || mac_key->empty()) {
    return Error{Errc::invalid, "external account: its key is no base64"};
  }
  std::string text;
  Writer(text)
      .begin_object()
      .field("alg", "HS256")
      .field("kid", external.key_id)
      .field("url", url)
      .end_object();
  const std::string first = base::base64url(text);
  const std::string second = base::base64url(jwk);
  PX_TRY(const std::string code, tls::hmac(tls::Hash::sha256, *mac_key, first + "." + second));
  return flattened(first, second, code);
}

}  // namespace proxycore::acme
