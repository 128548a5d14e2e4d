#include "proxy/rewrite.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace proxycore::proxy {

using http::FieldId;
using http::Fields;

bool Trust::trusts(const io::Address& peer) const noexcept {
  if (peer.unspecified()) return unix_peers;
  for (const io::Network& network : networks) {
    if (network.contains(peer)) return true;
  }
  return false;
}

namespace {

// HTTP under another name: through the tunnel that follows the 101, requests would pass us that
// nobody routed, rewrote or counted. RFC 9113 §3.1 has done away with them.
constexpr std::string_view http_protocols[] = {"h2c", "h2", "HTTP", "TLS"};

bool upgrades_to_http(const Fields& fields) {
  for (const Fields::Field field : fields) {
    if (field.id != FieldId::upgrade) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::string_view member = base::next_member(rest);
      const std::string_view name = member.substr(0, member.find('/'));
      for (const std::string_view protocol : http_protocols) {
        if (base::same(name, protocol)) return true;
      }
    }
  }
  return false;
}

// Removes what the Connection field names, and the fields that are hop-by-hop by definition.
void remove_hop_by_hop(http::Head& head) {
  Fields& fields = head.fields;
  if (fields.has(FieldId::connection)) {
    // The members are views into the arena, which removal leaves as it is.
    for (const Fields::Field field : fields) {
      if (field.id != FieldId::connection) continue;
      std::string_view rest = field.value;
      while (!rest.empty()) {
        const std::string_view member = base::next_member(rest);
        if (member.empty()) continue;
        const FieldId id = http::field_id(member);
        // Nobody may talk us out of the fields that delimit or route the message.
        if (id == FieldId::host || id == FieldId::content_length ||
            id == FieldId::transfer_encoding || id == FieldId::upgrade || id == FieldId::te ||
            id == FieldId::connection) {
          continue;
        }
        if (id == FieldId::other) {
          fields.remove(member);
        } else {
          fields.remove(id);
        }
      }
    }
    fields.remove(FieldId::connection);
  }
  fields.remove(FieldId::keep_alive);
  fields.remove(FieldId::proxy_connection);
  fields.remove(FieldId::transfer_encoding);
  // Whether trailers are understood is for this hop, and ours passes them on (RFC 9110 §10.1.4).
  if (fields.has(FieldId::te)) {
    bool trailers = false;
    for (const Fields::Field field : fields) {
      trailers = trailers || (field.id == FieldId::te && base::has_member(field.value, "trailers"));
    }
    fields.remove(FieldId::te);
    if (trailers) fields.add(FieldId::te, "trailers");
  }
  if (head.is_request() && fields.has(FieldId::upgrade)) {
    if (upgrades_to_http(fields)) head.upgrade = false;
    fields.remove("HTTP2-Settings");
  }
  if (!head.upgrade && head.status != 426) fields.remove(FieldId::upgrade);
}

// Programs behind CGI read X_Forwarded_For as X-Forwarded-For: who is not believed in the one
// spelling is not heard in the other.
void remove_lookalikes(Fields& fields) {
  constexpr std::size_t longest = 24;
  for (const Fields::Field field : fields) {
    if (field.id != FieldId::other || field.name.size() > longest) continue;
    if (field.name.find('_') == std::string_view::npos) continue;
    std::array<char, longest> hyphens;
    std::replace_copy(field.name.begin(), field.name.end(), hyphens.begin(), '_', '-');
    const std::string_view read_as{hyphens.data(), field.name.size()};
    if (http::field_id(read_as) != FieldId::other) fields.remove(field.name);
  }
}

// Fixed room for a short value that is put together without touching the heap.
class Short {
 public:
  Short& add(std::string_view text) {
    if (spilled_.empty() && used_ + text.size() <= room_.size()) {
      text.copy(room_.data() + used_, text.size());
      used_ += text.size();
    } else {
      if (spilled_.empty()) spilled_.assign(room_.data(), used_);
      spilled_.append(text);
    }
    return *this;
  }
  [[nodiscard]] std::string_view text() const {
    return spilled_.empty() ? std::string_view{room_.data(), used_} : std::string_view{spilled_};
  }

 private:
  std::array<char, 512> room_;
  std::size_t used_ = 0;
  std::string spilled_;
};

void append_to(Fields& fields, FieldId id, std::string_view value) {
  Short joined;
  if (fields.has(id)) {
    for (const Fields::Field field : fields) {
      if (field.id == id) joined.add(field.value).add(", ");
    }
  }
  fields.set(id, joined.add(value).text());
}

bool is_token_or_empty(std::string_view text) {
  return text.empty() || base::is_token(text);
}

// `for=192.0.2.1;host=a.example;proto=http` (RFC 7239 §4, §6).
void forwarded(Short& out, std::string_view peer, std::string_view host, std::string_view scheme) {
  out.add("for=");
  if (peer == "unix") {
    out.add("unknown");
  } else if (peer.find(':') != std::string_view::npos) {
    out.add("\"[").add(peer).add("]\"");
  } else {
    out.add(peer);
  }
  if (is_token_or_empty(host)) {
    if (!host.empty()) out.add(";host=").add(host);
  } else {
    out.add(";host=\"").add(host).add("\"");
  }
  out.add(";proto=").add(scheme);
}

// An element of X-Forwarded-For without port and brackets.
std::string_view bare_address(std::string_view element) {
  element = base::trim(element);
  if (!element.empty() && element.front() == '[') {
    return element.substr(1, element.find(']') == std::string_view::npos ? std::string_view::npos
                                                                         : element.find(']') - 1);
  }
  const std::size_t colon = element.find(':');
  const bool one_colon =
      colon != std::string_view::npos && element.find(':', colon + 1) == std::string_view::npos;
  return one_colon ? element.substr(0, colon) : element;
}

// The members of all X-Forwarded-For lines, backwards: first the one that our peer has seen.
class Hops {
 public:
  explicit Hops(const Fields& fields)
      : fields_(fields), lines_(fields.count(FieldId::x_forwarded_for)) {}

  // false: there are no more.
  bool next(std::string_view& hop) {
    if (!in_line_) {
      if (lines_ == 0) return false;
      rest_ = line(--lines_);
    }
    const std::size_t comma = rest_.rfind(',');
    in_line_ = comma != std::string_view::npos;
    hop = in_line_ ? rest_.substr(comma + 1) : rest_;
    rest_ = rest_.substr(0, comma);
    return true;
  }

 private:
  [[nodiscard]] std::string_view line(std::size_t index) const {
    for (const Fields::Field field : fields_) {
      if (field.id == FieldId::x_forwarded_for && index-- == 0) return field.value;
    }
    return {};
  }

  const Fields& fields_;
  std::size_t lines_;  // not begun yet
  std::string_view rest_;
  bool in_line_ = false;
};

constexpr std::string_view max_forwards = "Max-Forwards";

// How often the request may still be passed on, where it says so and means it (RFC 9110 §7.6.2).
std::optional<std::uint64_t> hops_left(const http::Head& head) {
  if (head.method != "OPTIONS" && head.method != "TRACE") return std::nullopt;
  const auto text = head.fields.find(max_forwards);
  return text ? base::parse_decimal(*text) : std::nullopt;
}

void count_down(http::Head& head) {
  const auto left = hops_left(head);
  if (!left || *left == 0) return;
  std::array<char, 20> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), *left - 1).ptr;
  head.fields.remove(max_forwards);
  head.fields.add(max_forwards, {text.data(), static_cast<std::size_t>(end - text.data())});
}

}  // namespace

std::string_view rewrite::client_address(const http::Head& head, const ClientInfo& client,
                                         const Trust& trust) {
  if (!client.trusted) return client.peer;
  std::string_view address;
  Hops hops(head.fields);
  for (std::string_view hop; hops.next(hop);) {
    hop = bare_address(hop);
    const auto parsed = io::Address::parse(hop, 0);
    if (!parsed) break;
    address = hop;
    if (!trust.trusts(*parsed)) break;
  }
  if (!address.empty()) return address;
  if (const auto real = head.fields.find(FieldId::x_real_ip)) {
    const std::string_view element = bare_address(*real);
    if (io::Address::parse(element, 0)) return element;
  }
  return client.peer;
}

bool rewrite::is_secure(const http::Head& head, const ClientInfo& client) {
  if (client.tls) return true;
  if (!client.trusted) return false;
  const auto scheme = head.fields.find(FieldId::x_forwarded_proto);
  return scheme && base::same(*scheme, "https");
}

bool rewrite::is_last_hop(const http::Head& head) {
  return hops_left(head) == 0;
}

void rewrite::request(http::Head& head, const ClientInfo& client, std::string_view address,
                      std::string_view via, std::string_view id) {
  Fields& fields = head.fields;
  // `address` may be a view into a field that is about to be replaced.
  Short real;
  real.add(address);
  remove_hop_by_hop(head);
  remove_lookalikes(fields);
  count_down(head);
  const std::string_view scheme = client.tls ? "https" : "http";
  Short element;
  forwarded(element, client.peer, head.authority, scheme);
  if (client.trusted) {
    append_to(fields, FieldId::x_forwarded_for, client.peer);
    append_to(fields, FieldId::forwarded, element.text());
    if (!fields.has(FieldId::x_forwarded_proto)) fields.add(FieldId::x_forwarded_proto, scheme);
    if (!fields.has(FieldId::x_forwarded_host)) {
      fields.add(FieldId::x_forwarded_host, head.authority);
    }
  } else {
    fields.set(FieldId::x_forwarded_for, client.peer);
    fields.set(FieldId::forwarded, element.text());
    fields.set(FieldId::x_forwarded_proto, scheme);
    fields.set(FieldId::x_forwarded_host, head.authority);
  }
  fields.set(FieldId::x_real_ip, real.text());
  fields.set(FieldId::x_request_id, id);
  Short hop;
  hop.add(head.version == http::Version::http10   ? "1.0 "
          : head.version == http::Version::http11 ? "1.1 "
                                                  : "2 ")
      .add(via);
  append_to(fields, FieldId::via, hop.text());
  // They were for us (RFC 9110 §11.7.2).
  fields.remove(FieldId::proxy_authorization);
  // An HTTP/1.0 client cannot have meant it (RFC 9110 §10.1.1).
  if (head.version == http::Version::http10) fields.remove(FieldId::expect);
}

void rewrite::point_at(http::Head& head, const Route& route, const Target& target) {
  if (!route.pass_host) head.authority = target.text();
}

void rewrite::interim(http::Head& head) {
  remove_hop_by_hop(head);
}

void rewrite::response(http::Head& head, std::string_view id, std::string_view date) {
  remove_hop_by_hop(head);
  head.fields.remove(FieldId::proxy_authenticate);
  // RFC 9110 §6.6.1: a message without Date gets ours when it is passed on.
  if (!head.fields.has(FieldId::date)) head.fields.add(FieldId::date, date);
  head.fields.set(FieldId::x_request_id, id);
}

void rewrite::strict_transport(http::Head& head) {
  constexpr std::string_view name = "Strict-Transport-Security";
  if (!head.fields.find(name)) head.fields.add(name, "max-age=31536000; includeSubDomains");
}

}  // namespace proxycore::proxy
