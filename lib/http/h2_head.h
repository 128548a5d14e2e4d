// h2_head: heads as HTTP/2 puts them on the wire: pseudo-header fields and lower-case names.
//
// H2Block takes the fields of one header block as they are decoded and makes a Head or trailers of
// them; H2Lines makes of a Head what nghttp2 encodes. nghttp2 itself refuses malformed messages
// (RFC 9113 §8.2, §8.3: upper case, order and number of pseudo-header fields, connection-specific
// fields, content-length against the content); what could still make us and an HTTP/1.1 origin
// disagree about a request is refused here.
// Source: RFC 9113 §8.2, §8.3. Thread: its worker's.
#pragma once

#include "http/codec.h"
#include "http/framing.h"
#include "http/head.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

namespace proxycore::http {

class H2Block {
 public:
  enum class Kind : std::uint8_t { request, response, trailers };

  void begin(Kind kind);
  // What is over a limit is counted but not kept.
  void add(std::string_view name, std::string_view value, const Limits& limits);
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  // Of the header list so far (RFC 9113 §6.5.2).
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  // Once all fields are there: what is wrong with it, or `head` is complete. `end`: no content
  // follows.
  framing::Fault settle_request(const Limits& limits, End end);
  framing::Fault settle_response(bool to_head, End end);
  framing::Fault settle_trailers() const;

  Head head;
  Fields trailers;

 private:
  void add_pseudo(std::string_view name, std::string_view value);
  [[nodiscard]] framing::Fault read_content_length(End end);

  Kind kind_ = Kind::request;
  std::size_t size_ = 0;
  std::uint32_t count_ = 0;
  bool over_ = false;  // a limit
  std::string scheme_;
  std::string cookies_;  // the crumbs, joined (RFC 9113 §8.2.3)
};

// Views into the head that was given last.
class H2Lines {
 public:
  void request(const Head& head);
  // `bodiless`: as framing::bodiless() says.
  void response(const Head& head, bool bodiless);
  void trailers(const Fields& fields);

  [[nodiscard]] const nghttp2_nv* data() const noexcept { return lines_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }

 private:
  void add(std::string_view name, std::string_view value, std::uint8_t flags = 0);
  void add_length(std::uint64_t length);
  void add_fields(const Fields& fields, std::uint32_t skipped);

  std::vector<nghttp2_nv> lines_;
  std::array<char, 3> status_{};
  std::array<char, 20> length_{};
};

}  // namespace proxycore::http
