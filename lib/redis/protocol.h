// The Redis protocol (RESP2) without a socket: commands become bytes, bytes become replies, and the
// server's error words become our codes. Both clients are made of it.
//
// Everything that knows hiredis is here; its reader takes the bytes apart. What a server sends is
// bounded: a reply that is too large is refused as soon as its length is announced, so that nobody
// waits for it or holds it. Not here: sockets, time-outs, which commands a store sends.
// Thread: values; one at a time.
#pragma once

#include "redis/url.h"
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;

namespace proxycore::redis {

using Args = std::span<const std::string_view>;

// Appends a command to a std::string or a base::Chain: an array of bulk strings, any bytes.
template <class Out>
void append_command(Out& out, Args args) {
  const auto header = [&out](char mark, std::size_t number) {
    out.append(std::string(1, mark).append(std::to_string(number)).append("\r\n"));
  };
  header('*', args.size());
  for (const std::string_view arg : args) {
    header('$', arg.size());
    out.append(arg);
    out.append(std::string_view{"\r\n"});
  }
}
template <class Out>
void append_command(Out& out, std::initializer_list<std::string_view> args) {
  append_command(out, Args{args.begin(), args.size()});
}

// A text as a pattern of MATCH and PSUBSCRIBE takes it literally.
std::string glob_escaped(std::string_view text);

struct Reply {
  enum class Type : std::uint8_t { nil, integer, status, error, bulk, array };

  Type type = Type::nil;
  std::int64_t integer = 0;
  std::string text = {};          // status, error, bulk
  std::vector<Reply> items = {};  // array

  [[nodiscard]] bool is(Type wanted) const noexcept { return type == wanted; }
};

// Takes the replies of one connection apart, however their bytes are cut.
class Replies {
 public:
  static constexpr std::size_t max_reply = std::size_t{8} << 20;   // bytes on the wire
  static constexpr std::size_t max_items = std::size_t{1} << 17;   // of all arrays of a reply
  static constexpr std::size_t max_depth = 6;                      // arrays inside each other
  static constexpr std::size_t good_read = std::size_t{16} << 10;  // bytes to feed at once

  Replies();
  ~Replies();
  Replies(const Replies&) = delete;
  Replies& operator=(const Replies&) = delete;

  // Copies `bytes`. What was fed before should have been taken with next(), or it piles up.
  void feed(std::string_view bytes);
  // The next whole reply; nullopt: more bytes are needed. An error is the last word about this
  // connection: every later call gives it again. Errors: limit (too large), protocol (malformed).
  Result<std::optional<Reply>> next();
  // As new, for the next connection.
  void clear();

 private:
  struct Build;  // the functions that hiredis calls
  struct Close {
    void operator()(redisReader* reader) const noexcept;
  };

  [[nodiscard]] bool too_large(std::string_view unread) const;
  Error fail(Error why);

  std::unique_ptr<redisReader, Close> reader_;
  Reply reply_;            // as far as it has been read
  std::size_t taken_ = 0;  // bytes of it that the reader has used
  std::size_t items_ = 0;  // of its arrays
  std::optional<Error> failed_;
};

// What is said first on every connection: its commands, and their names in the order in which the
// answers come (AUTH, SELECT, CLIENT).
struct Greeting {
  std::string bytes;
  std::vector<std::string_view> steps;
};
Greeting greeting(const Url& url);
// The answer to one of its steps. A server that does not let itself be told who we are is no
// failure. Errors: as error_of.
Result<void> check_greeting(std::string_view step, const Reply& reply);

// A command and its key (which may be empty) as errors name them: "HGETALL proxy_Host_a.test".
std::string operation(std::string_view command, std::string_view key);
// An error reply to a command on a key: "HGETALL proxy_Host_a.test: expected
// a hash, found another type". Values never appear in it.
// Codes: invalid (wrong type), limit (out of memory), denied (password or permission), busy (the
// server cannot now: loading, a script, a replica), protocol (anything else, in its words).
Error error_of(std::string_view command, std::string_view key, const Reply& error);
// A reply that is none of those the command has: protocol, "GET a: expected a text, found an
// array".
Error unexpected(std::string_view command, std::string_view key, std::string_view expected,
                 const Reply& found);

}  // namespace proxycore::redis
