// DNS messages as they are on the wire: queries and dynamic updates are written, answers are read.
//
// Names are text here: lower case, labels separated by dots, none at the end; what is no printable
// ASCII, and dots and backslashes within a label, as \DDD. Reading is bounded by the message: every
// offset is checked, compression only points backwards, and a name has at most 255 bytes.
// Not here: sending (exchange), who is asked (resolver), signatures (tsig).
// Source: RFC 1035 §3, §4; RFC 2136 §2. Thread: values.
#pragma once

#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

// What we know of TYPE, CLASS and RCODE; others are read as their number.
enum class Type : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  txt = 16,
  aaaa = 28,
  tsig = 250,
  any = 255,
};
enum class Class : std::uint16_t { in = 1, none = 254, any = 255 };
enum class Rcode : std::uint8_t {
  ok = 0,
  format_error = 1,
  server_failure = 2,
  no_such_name = 3,
  not_implemented = 4,
  refused = 5,
  not_authoritative = 9,  // or: not authorised (TSIG)
  not_in_zone = 10,
};
// "REFUSED", "NXDOMAIN", "RCODE 23".
std::string name_of(Rcode code);

constexpr std::size_t max_message = 65'535;

struct Question {
  std::string name;
  Type type = Type::txt;
  Class in = Class::in;
  friend bool operator==(const Question&, const Question&) = default;
};

struct Record {
  std::string name;
  Type type = Type::txt;
  Class in = Class::in;
  std::uint32_t ttl = 0;
  // Of NS and CNAME the name, of SOA that of the primary server, of TXT its strings joined; of all
  // others the bytes.
  std::string data;
};

// RFC 8945 §4.2; the last record of a message that is signed.
struct Signature {
  std::string key_name;
  std::string algorithm;       // a name: "hmac-sha256"
  std::uint64_t signed_s = 0;  // since 1970
  std::uint16_t fudge = 0;     // seconds
  std::string mac;
  std::uint16_t original_id = 0;
  std::uint16_t error = 0;
  std::string other;
  std::size_t at = 0;  // of its record in the message
};

struct Message {
  std::uint16_t id = 0;
  bool response = false;
  std::uint8_t opcode = 0;  // 0: query, 5: update
  bool authoritative = false;
  bool truncated = false;  // then the three sections are empty
  Rcode rcode = Rcode::ok;
  std::vector<Question> questions = {};
  std::vector<Record> answers = {};
  std::vector<Record> authority = {};
  std::vector<Record> additional = {};  // without the signature
  std::optional<Signature> signature = {};

  // Errors: protocol (what is wrong, and where).
  static Result<Message> parse(std::string_view wire);
};

// One question. `recurse`: the server shall ask others. Errors: invalid (the name).
Result<std::string> make_query(std::uint16_t id, const Question& question, bool recurse);

// One value of a TXT record set that an update adds or removes (RFC 2136 §2.5.1, §2.5.4).
struct Change {
  enum class What : std::uint8_t { add, remove };
  What what = What::add;
  std::string name;  // whole, not relative
  std::string value;
  std::uint32_t ttl = 0;
};
// Errors: invalid (a name, or a value over 65,280 bytes).
Result<std::string> make_update(std::uint16_t id, std::string_view zone,
                                const std::vector<Change>& changes);

// Uncompressed, lower case. Errors: invalid (which rule it breaks).
Result<std::string> wire_name(std::string_view name);
// Big-endian.
void append_u16(std::string& to, std::uint16_t value);
void append_u32(std::string& to, std::uint32_t value);

// `name` without its first label; empty: it was the last.
std::string_view parent_of(std::string_view name) noexcept;
// Whether `name` is that zone or below it. Both without dot at the end.
bool is_within(std::string_view name, std::string_view zone) noexcept;

}  // namespace proxycore::dns
