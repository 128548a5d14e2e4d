// Names and values of TXT records, in the forms that vendors' calls want them in: which zone a name
// is in, names relative to a zone and whole, values with quotes and without.
//
// Names are canonical (HostName). Not here: asking the DNS (resolver).
// Source: RFC 1035 §5.1, RFC 1464. Thread: pure functions, any.
#pragma once

#include <proxycore/dns_provider.h>

#include <span>
#include <string>
#include <string_view>

namespace proxycore::dns {

// The zone itself.
inline constexpr std::string_view apex = "@";

// The one with the longest name that `name` is or ends in; null: none.
const Zone* zone_for(std::span<const Zone> zones, std::string_view name) noexcept;

// Precondition: `name` is the zone or inside it. "_acme-challenge.www", apex.
std::string relative_name(std::string_view zone, std::string_view name);
// The other way: "_acme-challenge.www.example.com".
std::string whole_name(std::string_view zone, std::string_view relative);

// As in a zone file: "\"value\"", with quotes and backslashes escaped.
std::string quoted(std::string_view value);
// Whether a vendor's text is that value, given bare or as quoted strings ("\"va\" \"lue\"").
bool is_value(std::string_view text, std::string_view value);

}  // namespace proxycore::dns
