#include "redis/protocol.h"

#include "base/chain.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using redis::Replies;
using redis::Reply;

namespace {

// A reply as one line: +OK -ERR :1 "bulk" nil [..]
std::string shown(const Reply& reply) {
  switch (reply.type) {
    case Reply::Type::nil:
      return "nil";
    case Reply::Type::integer:
      return ":" + std::to_string(reply.integer);
    case Reply::Type::status:
      return "+" + reply.text;
    case Reply::Type::error:
      return "-" + reply.text;
    case Reply::Type::bulk:
      return '"' + reply.text + '"';
    case Reply::Type::array:
      break;
  }
  std::string list = "[";
  for (const Reply& item : reply.items) list += (list.size() > 1 ? " " : "") + shown(item);
  return list + "]";
}

// All replies in pieces of `size` bytes; an error ends the list.
std::string read_in_pieces(std::string_view bytes, std::size_t size) {
  Replies replies;
  std::string all;
  while (!bytes.empty()) {
    replies.feed(bytes.substr(0, size));
    bytes.remove_prefix(std::min(size, bytes.size()));
    for (;;) {
      const auto next = replies.next();
      if (!next) return all + std::string(name_of(next.error().code));
      if (!*next) break;
      all += shown(**next) + "\n";
    }
  }
  return all;
}

// Cut in every way: whole, byte by byte, and once at each byte.
std::string read(std::string_view bytes) {
  const std::string whole = read_in_pieces(bytes, bytes.size());
  for (std::size_t size = 1; size < bytes.size(); ++size) {
    CHECK(read_in_pieces(bytes, size) == whole);
  }
  return whole;
}

Reply error(std::string text) {
  return {.type = Reply::Type::error, .text = std::move(text)};
}

}  // namespace

TEST_CASE("redis protocol: a command is an array of texts of any bytes") {
  std::string out;
  redis::append_command(out, {"SET", std::string_view{"a\0\r\n", 4}, ""});
  CHECK(out == std::string("*3\r\n$3\r\nSET\r\n$4\r\na\0\r\n\r\n$0\r\n\r\n", 29));
  base::Slabs slabs;
  base::Chain chain(slabs);
  redis::append_command(chain, {"GET", "a"});
  CHECK(chain.front().text() == "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
}

TEST_CASE("redis protocol: the characters of patterns are escaped") {
  CHECK(redis::glob_escaped("proxy_Host_*.a[b]?^\\") == "proxy_Host_\\*.a\\[b\\]\\?\\^\\\\");
}

TEST_CASE("redis protocol: replies of every kind, however they are cut") {
  CHECK(read("+OK\r\n") == "+OK\n");
  CHECK(read("-ERR no\r\n:-12\r\n") == "-ERR no\n:-12\n");
  CHECK(read("$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n") == "\"a\r\nbc\"\n\"\"\nnil\n");
  CHECK(read("*0\r\n*-1\r\n") == "[]\nnil\n");
  CHECK(read("*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n+x\r\n:7\r\n") == "[\"a\" [:1 nil] +x]\n:7\n");
  CHECK(read("*2\r\n$10\r\n0123456789\r\n$2\r\n12\r\n") == "[\"0123456789\" \"12\"]\n");
}

TEST_CASE("redis protocol: malformed bytes end the connection") {
  for (const char* bytes : {"hello\r\n", "$x\r\nab\r\n", "*x\r\n", ":1x\r\n", "$-2\r\n", "*-2\r\n",
                            "$1\r\nabc:1\r\n", "%1\r\n+a\r\n:1\r\n"}) {
    CAPTURE(bytes);
    CHECK(read(bytes) == "protocol");
  }
  CHECK(read("+OK\r\n?") == "+OK\nprotocol");
}

TEST_CASE("redis protocol: after an error only the error comes, until clear()") {
  Replies replies;
  replies.feed("?");
  CHECK(replies.next().error().code == Errc::protocol);
  replies.feed("+OK\r\n");
  CHECK(replies.next().error().code == Errc::protocol);
  replies.clear();
  replies.feed("+OK\r\n");
  CHECK(shown(**replies.next()) == "+OK");
}

TEST_CASE("redis protocol: a reply that is too large is refused when it says so") {
  CHECK(read("$104857600\r\n") == "limit");
  CHECK(read("$99999999999999999\r\n") == "limit");
  CHECK(read("*2\r\n:1\r\n$8388608\r\n") == "limit");
  CHECK(read("*131073\r\n") == "limit");
  CHECK(read("*2\r\n*131071\r\n") == "limit");
  CHECK(read("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n") == "limit");
  CHECK(read("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n") == "[[[[[[:1]]]]]]\n");
}

TEST_CASE("redis protocol: a reply that grows too large is refused, in one piece or in many") {
  const std::string most(Replies::max_reply - 14, 'x');
  const std::string framed = "$" + std::to_string(most.size()) + "\r\n" + most + "\r\n";
  CHECK(framed.size() < Replies::max_reply);
  const std::string over =
      std::string("*2\r\n:1\r\n$8388600\r\n") + std::string(8388600, 'x') + "\r\n";
  const std::string endless = "+" + std::string(Replies::max_reply + 1, 'x');
  for (const std::size_t size : {Replies::good_read, Replies::max_reply * 2}) {
    Replies replies;
    const auto feed = [&](std::string_view bytes) {
      Result<std::optional<Reply>> last = std::optional<Reply>{};
      while (!bytes.empty()) {
        replies.feed(bytes.substr(0, size));
        bytes.remove_prefix(std::min(size, bytes.size()));
        last = replies.next();
      }
      return last;
    };
    CHECK((*feed(framed))->text == most);
    CHECK(feed(over).error().code == Errc::limit);
    replies.clear();
    CHECK(feed(endless).error().code == Errc::limit);
  }
}

TEST_CASE("redis protocol: a connection begins with password, database and name") {
  const auto plain = redis::greeting(*redis::Url::parse("redis://a"));
  CHECK(plain.bytes == "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$9\r\nproxycore\r\n");
  CHECK(plain.steps == std::vector<std::string_view>{"CLIENT"});
  const auto all = redis::greeting(*redis::Url::parse("redis://me:pw@a/2"));
  CHECK(all.steps == std::vector<std::string_view>{"AUTH", "SELECT", "CLIENT"});
  CHECK(
      all.bytes.starts_with("*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n"
                            "*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"));
  const auto old = redis::greeting(*redis::Url::parse("redis://:pw@a"));
  CHECK(old.bytes.starts_with("*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"));
}

TEST_CASE("redis protocol: a refused password is denied, a refused name is no failure") {
  const auto code = [](std::string_view step, const char* text) {
    const auto checked = redis::check_greeting(step, error(text));
    return checked ? std::string("fine") : std::string(name_of(checked.error().code));
  };
  CHECK(code("AUTH", "WRONGPASS invalid username-password pair") == "denied");
  CHECK(code("AUTH", "ERR invalid password") == "denied");
  CHECK(code("SELECT", "NOAUTH Authentication required.") == "denied");
  CHECK(code("SELECT", "ERR DB index is out of range") == "protocol");
  CHECK(code("CLIENT", "NOAUTH Authentication required.") == "denied");
  CHECK(code("CLIENT", "NOPERM this user has no permissions") == "fine");
  CHECK(code("CLIENT", "LOADING Redis is loading the dataset in memory") == "busy");
  CHECK(redis::check_greeting("AUTH", {.type = Reply::Type::status, .text = "OK"}));
}

TEST_CASE("redis protocol: error words become codes, and say what was expected") {
  const auto told = [](std::string_view command, std::string_view key, const char* text) {
    return redis::error_of(command, key, error(text)).message();
  };
  constexpr const char* wrong_type =
      "WRONGTYPE Operation against a key holding the wrong kind of value";
  CHECK(told("HGETALL", "proxy_Host_x", wrong_type) ==
        "invalid: HGETALL proxy_Host_x: expected a hash, found another type");
  CHECK(told("GET", "x:latest", wrong_type) ==
        "invalid: GET x:latest: expected a text, found another type");
  CHECK(told("SADD", "proxy_Host", wrong_type) ==
        "invalid: SADD proxy_Host: expected a set, found another type");
  CHECK(told("SET", "k", "OOM command not allowed when used memory > 'maxmemory'.") ==
        "limit: SET k: the server's memory is full (maxmemory)");
  CHECK(told("PING", "", "LOADING Redis is loading the dataset in memory") ==
        "busy: PING: the server is loading its data");
  CHECK(told("SET", "k", "READONLY You can't write against a read only replica.").substr(0, 4) ==
        "busy");
  CHECK(told("GET", "k", "NOPERM this user has no permissions").substr(0, 6) == "denied");
  CHECK(told("GET", "k\r\n", "ERR something\nodd") ==
        "protocol: GET k??: the server says: ERR something?odd");
}

TEST_CASE("redis protocol: what a server repeats of a command is not shown") {
  const Error told = redis::error_of(
      "HSET", "k", error("ERR unknown command `HSET`, with args beginning with: `k` `f` `secret`"));
  CHECK(told.detail == "HSET k: the server says: ERR unknown command `HSET`");
}

TEST_CASE("redis protocol: a reply of another kind is a breach of the protocol") {
  CHECK(redis::unexpected("GET", "a", "a text", {.type = Reply::Type::array}).message() ==
        "protocol: GET a: expected a text, found an array");
}
