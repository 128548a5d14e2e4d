// Head: what a request or a response says before its body, the same for HTTP/1.1 and HTTP/2.
//
// A codec fills it from the wire and writes it to the wire; in between only rewrite changes it.
// clear() keeps the memory, so recycled heads allocate nothing.
// Source: RFC 9110 §6. Not here: parsing (h1_codec), the length rules (framing). Thread: its
// owner's.
#pragma once

#include "http/fields.h"

#include <cstdint>
#include <string>
#include <utility>

namespace proxycore::http {

enum class Version : std::uint8_t { http10, http11, http2 };

// How a message's content is delimited (RFC 9112 §6.3).
enum class Framing : std::uint8_t {
  none,         // no content, by the kind of message or Content-Length: 0 of a request
  length,       // `content_length` bytes
  chunked,      // of unknown length, ends by itself; HTTP/2 without content-length too
  until_close,  // of unknown length, ends with the connection (responses only)
};

struct Head {
  // Requests.
  std::string method;  // "GET", case-sensitive; empty: this is a response
  std::string target;  // origin form ("/a?b"), or "*" for OPTIONS; absolute form is taken apart
  std::string
      authority;  // Host field, or the absolute form's authority, which wins (RFC 9112 §3.2.2)
  // Responses.
  std::uint16_t status = 0;  // 100..999; 0: this is a request
  std::string reason;        // as received; may be empty

  Version version = Version::http11;
  Framing framing = Framing::none;
  std::uint64_t content_length = 0;  // with Framing::length
  // A request that asks to change the protocol (RFC 9110 §7.8) and may, or the 101 that grants it.
  bool upgrade = false;
  Fields fields;

  [[nodiscard]] bool is_request() const noexcept { return status == 0; }
  [[nodiscard]] bool informational() const noexcept { return status >= 100 && status < 200; }
  void clear() noexcept {
    method.clear();
    target.clear();
    authority.clear();
    status = 0;
    reason.clear();
    version = Version::http11;
    framing = Framing::none;
    content_length = 0;
    upgrade = false;
    fields.clear();
  }
  // Heads change hands with their memory; cheaper than the three moves of std::swap.
  friend void swap(Head& a, Head& b) noexcept {
    a.method.swap(b.method);
    a.target.swap(b.target);
    a.authority.swap(b.authority);
    std::swap(a.status, b.status);
    a.reason.swap(b.reason);
    std::swap(a.version, b.version);
    std::swap(a.framing, b.framing);
    std::swap(a.content_length, b.content_length);
    std::swap(a.upgrade, b.upgrade);
    swap(a.fields, b.fields);
  }
};

}  // namespace proxycore::http
