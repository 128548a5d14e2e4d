// The objects that a CA sends: directory, account, order, authorization, challenge, renewal
// information, read from their JSON and checked.
//
// What a later step depends on has to be there and make sense; anything else is left out.
// Source: RFC 8555 §7.1, RFC 9773 §4.2. Thread: pure functions, any.
#pragma once

#include <proxycore/acme.h>
#include <proxycore/result.h>

#include <string>
#include <string_view>

namespace proxycore::acme {

// Errors of all: protocol (which field, and what was expected).
Result<Directory> read_directory(std::string_view content);
Result<Account> read_account(std::string_view content, std::string url);
Result<Order> read_order(std::string_view content, std::string url);
Result<Authorization> read_authorization(std::string_view content, std::string url);
Result<RenewalInfo> read_renewal_info(std::string_view content);

// What tokens and nonces are made of, which end up in paths, in the DNS and in stores.
bool is_base64url(std::string_view text) noexcept;
// "https://..." or "http://...", without control characters and blanks.
bool is_url(std::string_view text) noexcept;

}  // namespace proxycore::acme
