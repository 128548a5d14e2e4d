#include "base/text.h"
#include <proxycore/host.h>
#include <proxycore/host_trie.h>

#include <array>
#include <cstdlib>
#include <memory>

#include <arpa/inet.h>

#include <idn2.h>

namespace proxycore {

using base::shown;

namespace {

// What a byte of a name may be; an or of these tells about all of them at once.
enum Kind : std::uint8_t { plain = 0, upper = 1, beyond_ascii = 2, refused = 4 };

constexpr std::array<std::uint8_t, 256> kinds = [] {
  std::array<std::uint8_t, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const char c = static_cast<char>(i);
    const bool fine =
        (c >= 'a' && c <= 'z') || base::is_digit(c) || c == '-' || c == '_' || c == '.';
    table[i] = i >= 0x80 ? beyond_ascii : c >= 'A' && c <= 'Z' ? upper : fine ? plain : refused;
  }
  return table;
}();

// No name that takes more bytes of UTF-8 becomes an A-label form of 253.
constexpr std::size_t max_raw = 4 * max_host_name;

// The next label; takes it and its dot off `rest`.
std::string_view next_label(std::string_view& rest, bool& last) {
  const std::size_t dot = rest.find('.');
  const std::string_view label = rest.substr(0, dot);
  last = dot == std::string_view::npos;
  rest.remove_prefix(last ? rest.size() : dot + 1);
  return label;
}

// "[::1]", the address in the form of RFC 5952; empty if it is none.
std::string ipv6_literal(std::string_view raw) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (raw.size() < 4 || raw.size() > text.size() + 1 || raw.front() != '[' || raw.back() != ']') {
    return {};
  }
  raw = raw.substr(1, raw.size() - 2);
  raw.copy(text.data(), raw.size());
  in6_addr address{};
  if (raw.find('\0') != std::string_view::npos || inet_pton(AF_INET6, text.data(), &address) != 1) {
    return {};
  }
  inet_ntop(AF_INET6, &address, text.data(), text.size());
  return std::string("[").append(text.data()).append("]");
}

// A label with letters beyond ASCII as an A-label (RFC 5891, mapped as UTS 46 says). What comes out
// is still to be checked: the mapping makes dots of other full stops, for example.
Result<std::string> a_label(const std::string& label) {
  char* made = nullptr;
  const int status = idn2_to_ascii_8z(label.c_str(), &made, IDN2_NONTRANSITIONAL);
  const std::unique_ptr<char, decltype(&std::free)> keep(made, &std::free);
  if (status != IDN2_OK) return Error{Errc::invalid, idn2_strerror(status)};
  return std::string(made);
}

std::uint8_t kinds_in(std::string_view text) noexcept {
  std::uint8_t seen = plain;
  for (const char c : text) seen |= kinds[static_cast<unsigned char>(c)];
  return seen;
}

enum class Wildcards : std::uint8_t { no, yes };

Result<std::string> canonical_form(std::string_view raw, Wildcards wildcards) {
  const auto refuse = [raw](std::string_view why) {
    return Error{Errc::invalid, shown(raw).append(" is no host name: ").append(why)};
  };
  const auto bad_bytes = [&refuse](std::string_view label) {
    return refuse("label " + shown(label) + " has other than letters, digits, '-' and '_'");
  };
  if (raw.empty()) return refuse("it is empty");
  if (raw.size() > max_raw) return refuse("it is over 253 bytes");
  if (raw.front() == '[') {
    std::string address = ipv6_literal(raw);
    if (address.empty()) return refuse("expected an IPv6 address in the brackets");
    return address;
  }
  if (raw.find(':') != std::string_view::npos) {
    return refuse("it has a ':'; expected a name without port, or an IPv6 address in brackets");
  }

  std::string name;
  std::string_view rest = raw;
  if (rest.back() == '.') rest.remove_suffix(1);
  for (bool last = false; !last;) {
    const std::string_view label = next_label(rest, last);
    const std::uint8_t seen = kinds_in(label);
    if ((seen & beyond_ascii) == 0) {
      name.append(label);
    } else {
      if ((seen & refused) != 0) return bad_bytes(label);
      auto mapped = a_label(std::string(label));
      if (!mapped) return refuse("label " + shown(label) + ": " + mapped.error().detail);
      // A wildcard is one only where somebody wrote one.
      if (mapped->find('*') != std::string::npos) return bad_bytes(label);
      name.append(*mapped);
    }
    if (!last) name.push_back('.');
  }
  for (char& c : name) c = base::lower(c);

  if (name.size() > max_host_name) return refuse("it is over 253 bytes");
  rest = name;
  for (bool last = false; !last;) {
    const std::string_view label = next_label(rest, last);
    if (label.empty()) return refuse("it has an empty label");
    if (label.size() > max_host_label) return refuse("label " + shown(label) + " is over 63 bytes");
    const bool wildcard = wildcards == Wildcards::yes && (label == "*" || label == "**");
    if (kinds_in(label) != plain && !wildcard) return bad_bytes(label);
  }
  return name;
}

}  // namespace

Result<std::string> HostName::canonical(std::string_view name) {
  return canonical_form(name, Wildcards::no);
}

Result<std::string> HostName::canonical_pattern(std::string_view pattern) {
  return canonical_form(pattern, Wildcards::yes);
}

std::string_view HostName::normalize(std::string_view raw, std::string& scratch) {
  std::string_view name = raw;
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  std::uint8_t seen = plain;
  bool lengths_fit = name.size() <= max_host_name;
  std::size_t label = 0;
  for (const char c : name) {
    seen |= kinds[static_cast<unsigned char>(c)];
    if (c != '.') {
      ++label;
    } else {
      lengths_fit &= label - 1 < max_host_label;  // 1 to 63
      label = 0;
    }
  }
  lengths_fit &= label - 1 < max_host_label;
  if (seen <= upper) {
    if (!lengths_fit) return {};
    if (seen == plain) return name;
    scratch.assign(name);
    for (char& c : scratch) c = base::lower(c);
    return scratch;
  }
  const bool address = !raw.empty() && raw.front() == '[';
  if ((seen & refused) != 0 && !address) return {};
  auto canonical = canonical_form(raw, Wildcards::no);
  if (!canonical) return {};
  if (*canonical == raw) return raw;
  scratch.swap(*canonical);
  return scratch;
}

}  // namespace proxycore
