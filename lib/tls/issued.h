// What an authority issued: its PEM text read and put in order, before anything is done with it.
//
// Authorities send the certificate first and what signed it in any order, or with a root that
// nobody needs. Not here: whether it may be served (cert.h), what it is asked for (keys.h).
// Source: RFC 5280, RFC 7468, RFC 8555 §9.1, RFC 9773 §4.1. Thread: any.
#pragma once

#include <proxycore/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::tls {

struct Issued {
  std::string chain_pem;           // the certificate, then what signed it, without the root
  std::string certificate_der;     // the first of them
  std::vector<std::string> names;  // as Certificate::names()
  // Seconds since 1970, both included.
  std::int64_t not_before = 0;
  std::int64_t not_after = 0;
  std::string authority_key_id;      // bytes of keyIdentifier (RFC 5280 §4.2.1.1); empty: none
  std::string serial;                // content bytes of the DER integer, a leading 00 included
  std::vector<std::string> issuers;  // common names of who signed each certificate of the chain
};
// Errors: invalid (no PEM, what does not parse, over 10 certificates or 256 KiB).
Result<Issued> read_issued(std::string_view pem);

// The bytes between "-----BEGIN <label>-----" and its end, of the first such block.
// Errors: invalid (there is none, or no base64 in it).
Result<std::string> der_of(std::string_view pem, std::string_view label);

}  // namespace proxycore::tls
