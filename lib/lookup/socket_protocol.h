// The messages of the lookup socket, and how they are cut out of a stream of bytes.
//
//   {"domain":"app.example.com"}
//   {"host":"app.example.com","ip":"10.0.0.5","targetPort":"8080",...,"wildcard_parent":"..."}
//
// A request is one JSON object, its reply another on one line: all values are strings, lists and
// objects as the JSON text that is stored; {} says that there is no such host. Requests may come
// several at a time, however they are cut, with or without line ends between them.
// Source: the design's compatibility notes, 3 and 10; RFC 8259. Thread: values.
#pragma once

#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::lookup {

// Cuts a stream into JSON values. Of what is in them only the brackets and strings are looked at.
class JsonStream {
 public:
  // `most`: bytes of one value.
  explicit JsonStream(std::size_t most) noexcept : most_(most) {}

  // Copies `bytes`. What was fed before should have been taken with next(), or it piles up.
  void feed(std::string_view bytes);
  // No more bytes will come: what waits for a delimiter (a number) is whole.
  void end() noexcept { ended_ = true; }
  // The text of the next value, until the next call of feed(); nullopt: more bytes are needed.
  // An error is the last word about this stream. Errors: limit (over `most`), invalid (no JSON
  // begins so).
  Result<std::optional<std::string_view>> next();
  // Whether something has come that next() has not given.
  [[nodiscard]] bool partial() const noexcept { return begin_ < buffer_.size(); }
  // As new.
  void clear() noexcept;

 private:
  enum class Kind : std::uint8_t { none, bracket, string, word };

  bool scan();

  std::size_t most_;
  std::string buffer_;
  std::size_t begin_ = 0;    // of the present value, or of what has not been looked at
  std::size_t scanned_ = 0;  // up to here
  std::size_t depth_ = 0;    // of brackets
  Kind kind_ = Kind::none;
  bool in_string_ = false;
  bool escaped_ = false;
  bool ended_ = false;
};

struct LookupRequest {
  static constexpr std::size_t most = std::size_t{64} << 10;  // bytes

  // As the client wrote it; empty: it asked for no name, and there is no such host.
  std::string domain = {};
  // null is the one request that never had a reply.
  bool wants_reply = true;

  // Errors: invalid, limit (why it is no JSON).
  static Result<LookupRequest> parse(std::string_view json);
};
void append_request(std::string& out, std::string_view host);

struct LookupReply {
  static constexpr std::size_t most = std::size_t{8} << 20;  // bytes

  // An empty record: no such host. Errors: invalid (no JSON object), and what the service said.
  static Result<Record> parse(std::string_view json);
};
void append_reply(std::string& out, const Record& record);
void append_miss(std::string& out);
// Words for people; clients that know of none see a record without an address.
void append_error(std::string& out, std::string_view why);

}  // namespace proxycore::lookup
