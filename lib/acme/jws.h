// What an ACME client signs: requests, and the binding of an account to another one.
//
// Flattened JSON with everything in the protected header (RFC 8555 §6.2). Not here: keys and their
// algorithms (tls/signer.h), nonces (client).
// Source: RFC 7515 §7.2.2, RFC 8555 §6.2, §6.4, §7.3.4. Thread: any.
#pragma once

#include "tls/signer.h"
#include <proxycore/acme.h>
#include <proxycore/result.h>

#include <string>
#include <string_view>

namespace proxycore::acme {

struct JwsHeader {
  std::string_view url;
  std::string_view nonce = {};   // empty: none, as in what is signed within another
  std::string_view key_id = {};  // the account's url; empty: the public key itself
};
// Errors: io.
Result<std::string> sign_jws(const tls::Signer& key, const JwsHeader& header,
                             std::string_view payload);

// Says with the CA's MAC key that the account of `jwk` is whom the CA knows by it.
// `url`: where the account is asked for. Errors: invalid (the MAC key is no base64), io.
Result<std::string> bind_account(const ExternalAccount& external, std::string_view jwk,
                                 std::string_view url);

}  // namespace proxycore::acme
