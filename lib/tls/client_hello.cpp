#include "tls/client_hello.h"

#include <algorithm>
#include <cstring>

namespace proxycore::tls {

namespace {
constexpr char handshake_record = 22;
constexpr char client_hello_message = 1;
constexpr std::size_t message_header = 4;
constexpr std::size_t max_record = 16384;  // RFC 8446 §5.1

std::uint16_t number16(std::string_view two) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(two[0]) << 8 |
                                    static_cast<unsigned char>(two[1]));
}

// Takes things off the front of what is left; once something was short, everything is.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : left_(bytes) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool done() const noexcept { return left_.empty(); }
  std::string_view take(std::size_t count) {
    if (count > left_.size()) {
      ok_ = false;
      left_ = {};
      return {};
    }
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  std::size_t take_number(std::size_t bytes) {
    std::size_t number = 0;
    for (const char byte : take(bytes)) number = number << 8 | static_cast<unsigned char>(byte);
    return number;
  }
  // What stands behind its length of that many bytes.
  std::string_view take_vector(std::size_t length_bytes) { return take(take_number(length_bytes)); }

 private:
  std::string_view left_;
  bool ok_ = true;
};

Error malformed(std::string_view where) {
  return Error{Errc::protocol, "malformed"}.within(where).within("ClientHello");
}

bool has_number(std::string_view list, std::uint16_t id) {
  for (; list.size() >= 2; list.remove_prefix(2)) {
    if (number16(list) == id) return true;
  }
  return false;
}

// A list of two-byte numbers that fills `extension` behind its own length.
Result<std::string_view> number_list(std::string_view extension, std::size_t length_bytes,
                                     std::string_view name) {
  Cursor in(extension);
  const std::string_view list = in.take_vector(length_bytes);
  if (!in.ok() || !in.done() || list.empty() || list.size() % 2 != 0) return malformed(name);
  return list;
}

// RFC 6066 §3: a list, of which only one kind of name was ever defined.
Result<std::string_view> read_server_name(std::string_view extension) {
  Cursor in(extension);
  Cursor list(in.take_vector(2));
  std::string_view found;
  bool any = false;
  while (list.ok() && !list.done()) {
    const std::size_t kind = list.take_number(1);
    const std::string_view name = list.take_vector(2);
    if (!list.ok() || name.empty() || (kind == 0 && any)) return malformed("server_name");
    if (kind != 0) continue;
    found = name;
    any = true;
  }
  if (!in.ok() || !in.done() || !list.ok()) return malformed("server_name");
  return found;
}

// RFC 7301 §3.1: at least one name, none of them empty.
Result<std::string_view> read_alpn(std::string_view extension) {
  Cursor in(extension);
  const std::string_view list = in.take_vector(2);
  if (!in.ok() || !in.done() || list.empty()) return malformed("ALPN");
  Cursor names(list);
  while (!names.done()) {
    const std::string_view name = names.take_vector(1);
    if (!names.ok() || name.empty()) return malformed("ALPN");
  }
  return list;
}

// Whether these first bytes can be the beginning of a request in plain HTTP.
bool may_be_http(std::string_view start) {
  static constexpr std::string_view methods[] = {"GET ",     "HEAD ",  "POST ",    "PUT ",
                                                 "DELETE ",  "PATCH ", "OPTIONS ", "TRACE ",
                                                 "CONNECT ", "PRI * "};
  return std::any_of(std::begin(methods), std::end(methods), [&](std::string_view method) {
    return method.substr(0, start.size()) == start.substr(0, method.size());
  });
}
}  // namespace

bool ClientHello::has_protocol(std::string_view name) const noexcept {
  for (Cursor names(alpn); names.ok() && !names.done();) {
    if (names.take_vector(1) == name && names.ok()) return true;
  }
  return false;
}

bool ClientHello::has_signature_algorithm(std::uint16_t id) const noexcept {
  return has_number(signature_algorithms, id);
}

bool ClientHello::has_version(std::uint16_t id) const noexcept {
  return has_number(versions, id);
}

Result<ClientHello> parse_client_hello(std::string_view message) {
  Cursor in(message);
  if (in.take_number(1) != client_hello_message) return malformed("type");
  Cursor body(in.take_vector(3));
  if (!in.ok() || !in.done()) return malformed("length");

  ClientHello hello;
  hello.legacy_version = static_cast<std::uint16_t>(body.take_number(2));
  body.take(32);  // random
  if (body.take_vector(1).size() > 32) return malformed("session id");
  const std::string_view suites = body.take_vector(2);
  const std::string_view compressions = body.take_vector(1);
  if (!body.ok() || suites.empty() || suites.size() % 2 != 0 || compressions.empty()) {
    return malformed("cipher suites or compression methods");
  }
  if (body.done()) return hello;  // TLS 1.2 may go without extensions

  Cursor extensions(body.take_vector(2));
  if (!body.ok() || !body.done()) return malformed("extensions");
  enum Kind : std::size_t { server_name = 0, signatures = 13, protocols = 16, versions = 43 };
  std::uint64_t seen = 0;  // of the kinds below 64
  while (!extensions.done()) {
    const std::size_t kind = extensions.take_number(2);
    const std::string_view content = extensions.take_vector(2);
    if (!extensions.ok()) return malformed("extensions");
    if (kind < 64) {
      // RFC 8446 §4.2: not twice. Two readers could otherwise see two names.
      if ((seen >> kind & 1) != 0) return malformed("an extension that is there twice");
      seen |= std::uint64_t{1} << kind;
    }
    switch (kind) {
      case server_name: {
        PX_TRY(hello.server_name, read_server_name(content));
        break;
      }
      case signatures: {
        PX_TRY(hello.signature_algorithms, number_list(content, 2, "signature_algorithms"));
        break;
      }
      case protocols: {
        PX_TRY(hello.alpn, read_alpn(content));
        break;
      }
      case versions: {
        PX_TRY(hello.versions, number_list(content, 1, "supported_versions"));
        break;
      }
      default:
        break;
    }
  }
  return hello;
}

bool ClientHelloReader::complete() const noexcept {
  if (message_.size() < message_header) return false;
  Cursor in(message_);
  in.take(1);
  return message_.size() == message_header + in.take_number(3);
}

Result<std::size_t> ClientHelloReader::feed(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && !complete()) {
    if (left_ == 0) {  // a record's header
      header_[header_size_++] = bytes[at++];
      if (header_[0] != handshake_record) {
        is_http_ = may_be_http({header_, header_size_});
        if (is_http_ && header_size_ < sizeof header_) continue;
        return Error{Errc::protocol, is_http_ ? "plain HTTP where TLS is spoken" : "not TLS"};
      }
      if (header_size_ < sizeof header_) continue;
      header_size_ = 0;
      left_ = number16({header_ + 3, 2});
      if (header_[1] != 3) return Error{Errc::protocol, "not TLS"};
      if (left_ == 0 || left_ > max_record) return malformed("length of the record");
      continue;
    }
    // Only up to the message's end: its header first, to know where that is.
    std::size_t wanted = message_header - std::min(message_.size(), message_header);
    if (wanted == 0) {
      Cursor in(message_);
      in.take(1);
      wanted = message_header + in.take_number(3) - message_.size();
    }
    const std::size_t part = std::min({std::size_t{left_}, wanted, bytes.size() - at});
    message_.append(bytes.substr(at, part));
    at += part;
    left_ = static_cast<std::uint16_t>(left_ - part);
    if (message_[0] != client_hello_message) {
      return Error{Errc::protocol, "a handshake that does not begin with a ClientHello"};
    }
    if (message_.size() == message_header) {
      Cursor in(message_);
      in.take(1);
      if (in.take_number(3) > max_message - message_header) {
        return Error{Errc::limit, "ClientHello: longer than 16 KiB"};
      }
    }
  }
  // RFC 8446 §5.1: what comes next has other keys, so it cannot stand in the same record.
  if (complete() && left_ != 0) return malformed("something behind it");
  return at;
}

}  // namespace proxycore::tls
