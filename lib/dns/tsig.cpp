#include "dns/tsig.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::size_t additional_count_at = 10;  // in a message

struct Algorithm {
  std::string_view name;
  tls::Hash hash;
};
// RFC 8945 §6; without HMAC-MD5.
constexpr auto algorithms = std::to_array<Algorithm>({
    {"hmac-sha256", tls::Hash::sha256},
    {"hmac-sha512", tls::Hash::sha512},
    {"hmac-sha384", tls::Hash::sha384},
    {"hmac-sha224", tls::Hash::sha224},
    {"hmac-sha1", tls::Hash::sha1},
});

enum : std::uint16_t { bad_signature = 16, bad_key = 17, bad_time = 18, bad_truncation = 22 };

void append_u48(std::string& to, std::uint64_t value) {
  append_u16(to, static_cast<std::uint16_t>(value >> 32U));
  append_u32(to, static_cast<std::uint32_t>(value));
}

// RFC 8945 §4.3.3: what of the signature is signed.
std::string variables(std::string_view key_name, std::string_view algorithm, std::uint64_t signed_s,
                      std::uint16_t fudge, std::uint16_t error, std::string_view other) {
  std::string all(key_name);
  append_u16(all, static_cast<std::uint16_t>(Class::any));
  append_u32(all, 0);  // TTL
  all.append(algorithm);
  append_u48(all, signed_s);
  append_u16(all, fudge);
  append_u16(all, error);
  append_u16(all, static_cast<std::uint16_t>(other.size()));
  all.append(other);
  return all;
}

void set_u16(std::string& message, std::size_t at, std::uint16_t value) {
  message[at] = static_cast<char>(value >> 8U);
  message[at + 1] = static_cast<char>(value & 0xFFU);
}

std::uint16_t additional_count(std::string_view message) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(message[at]); };
  return static_cast<std::uint16_t>(byte(additional_count_at) << 8U |
                                    byte(additional_count_at + 1));
}

Error denied(std::string_view why) {
  return {Errc::denied, fmt::format("tsig: {}", why)};
}

// In words what the server has against our signature.
std::string objection(const Signature& answer, std::string_view key_name) {
  switch (answer.error) {
    case bad_signature:
      return fmt::format("BADSIG: the secret of key '{}' is another one there", key_name);
    case bad_key:
      return fmt::format("BADKEY: the server does not know key '{}' with this algorithm", key_name);
    case bad_truncation:
      return "BADTRUNC: the server wants longer signatures";
    default:
      return fmt::format("the server answers with error {}", answer.error);
  }
}

}  // namespace

Result<TsigKey> TsigKey::create(std::string_view name, std::string_view algorithm,
                                std::string_view secret) {
  TsigKey key;
  if (name.ends_with('.')) name.remove_suffix(1);
  auto on_wire = wire_name(name);
  if (!on_wire || name.empty()) {
    return Error{Errc::invalid, "tsig: name of the key: expected a domain name, as the server has"};
  }
  key.name_ = *std::move(on_wire);
  key.shown_name_ = name;
  const auto* const known =
      std::find_if(algorithms.begin(), algorithms.end(),
                   [&](const Algorithm& one) { return base::same(one.name, algorithm); });
  if (known == algorithms.end()) {
    return Error{Errc::invalid,
                 fmt::format("tsig: algorithm {}: expected hmac-sha256, hmac-sha512, hmac-sha384, "
                             "hmac-sha224 or hmac-sha1",
                             base::shown(algorithm))};
  }
  key.hash_ = known->hash;
  PX_TRY(key.algorithm_, wire_name(known->name));
  auto bytes = base::parse_base64(secret);
  if (!bytes || bytes->empty()) return Error{Errc::invalid, "tsig: secret: expected base64"};
  key.secret_ = *std::move(bytes);
  return key;
}

Result<TsigKey::Signed> TsigKey::sign(std::string_view message, std::int64_t now_s) const {
  const auto now = static_cast<std::uint64_t>(now_s);
  Signed out{std::string(message), {}};
  PX_TRY(out.mac, digest({}, message, variables(name_, algorithm_, now, fudge_s, 0, {})));
  set_u16(out.wire, additional_count_at, static_cast<std::uint16_t>(additional_count(message) + 1));
  std::string data(algorithm_);
  append_u48(data, now);
  append_u16(data, fudge_s);
  append_u16(data, static_cast<std::uint16_t>(out.mac.size()));
  data.append(out.mac);
  data.append(message.substr(0, 2));  // the original id
  append_u16(data, 0);                // no error
  append_u16(data, 0);                // nothing else
  out.wire.append(name_);
  append_u16(out.wire, static_cast<std::uint16_t>(Type::tsig));
  append_u16(out.wire, static_cast<std::uint16_t>(Class::any));
  append_u32(out.wire, 0);
  append_u16(out.wire, static_cast<std::uint16_t>(data.size()));
  out.wire.append(data);
  return out;
}

Result<void> TsigKey::verify(std::string_view wire, const Message& answer, std::string_view mac,
                             std::int64_t now_s) const {
  if (!answer.signature) return denied("the answer is not signed");
  const Signature& theirs = *answer.signature;
  // Those answers are not signed, as there is no key to sign them with (RFC 8945 §5.3.2).
  if (theirs.error != 0 && theirs.error != bad_time) {
    return denied(objection(theirs, shown_name_));
  }
  PX_TRY(const std::string key_name, wire_name(theirs.key_name));
  PX_TRY(const std::string algorithm, wire_name(theirs.algorithm));
  if (key_name != name_ || algorithm != algorithm_) {
    return denied("the answer is signed with another key");
  }
  std::string message(wire.substr(0, theirs.at));
  set_u16(message, 0, theirs.original_id);
  set_u16(message, additional_count_at, static_cast<std::uint16_t>(additional_count(message) - 1));
  std::string before;
  append_u16(before, static_cast<std::uint16_t>(mac.size()));
  before.append(mac);
  PX_TRY(const std::string expected, digest(before, message,
                                            variables(name_, algorithm_, theirs.signed_s,
                                                      theirs.fudge, theirs.error, theirs.other)));
  if (!tls::equal(theirs.mac, expected)) return denied("the answer's signature is not good");
  if (theirs.error == bad_time) {
    return denied("BADTIME: the clock of this machine and the server's differ by over 5 minutes");
  }
  const std::int64_t apart = now_s - static_cast<std::int64_t>(theirs.signed_s);
  if (apart > theirs.fudge || -apart > theirs.fudge) {
    return denied("the answer was signed at another time: the clocks differ, or it is an old one");
  }
  return {};
}

Result<std::string> TsigKey::digest(std::string_view before, std::string_view message,
                                    std::string_view variables) const {
  std::string all;
  all.reserve(before.size() + message.size() + variables.size());
  all.append(before).append(message).append(variables);
  return tls::hmac(hash_, secret_, all);
}

}  // namespace proxycore::dns
