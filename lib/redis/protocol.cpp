#include "redis/protocol.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <hiredis/read.h>

namespace proxycore::redis {

namespace {

// As a message shows it: printable, cut, without the quotes.
std::string plain(std::string_view text) {
  const std::string quoted = base::shown(text);
  return quoted.substr(1, quoted.size() - 2);
}

std::string_view type_of_key(std::string_view command) {
  if (command == "GET" || command == "SET" || command == "INCR") return "a text";
  if (command.starts_with('H')) return "a hash";
  if (command.starts_with('S')) return "a set";
  return "another type";
}

std::string_view name_of(Reply::Type type) {
  switch (type) {
    case Reply::Type::nil:
      return "nothing";
    case Reply::Type::integer:
      return "a number";
    case Reply::Type::status:
      return "a status";
    case Reply::Type::error:
      return "an error";
    case Reply::Type::bulk:
      return "a text";
    case Reply::Type::array:
      return "an array";
  }
  return "something else";
}

struct Word {
  std::string_view text;
  Errc code;
  std::string_view meaning;
};

constexpr std::array words{
    Word{"OOM", Errc::limit, "the server's memory is full (maxmemory)"},
    Word{"NOAUTH", Errc::denied, "the server wants a password"},
    Word{"WRONGPASS", Errc::denied, "wrong user or password, or the user is disabled"},
    Word{"NOPERM", Errc::denied, "the user has no permission for it"},
    Word{"LOADING", Errc::busy, "the server is loading its data"},
    Word{"BUSY", Errc::busy, "the server is busy running a script"},
    Word{"READONLY", Errc::busy, "the server is a replica that takes no writes"},
    Word{"MASTERDOWN", Errc::busy, "the server is a replica that has lost its master"},
    Word{"MISCONF", Errc::busy, "the server refuses writes because it cannot save them"},
};

}  // namespace

std::string glob_escaped(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    if (std::string_view{"*?[]^\\"}.find(c) != std::string_view::npos) escaped.push_back('\\');
    escaped.push_back(c);
  }
  return escaped;
}

struct Replies::Build {
  static Reply* place(const redisReadTask* task) {
    Replies& replies = *static_cast<Replies*>(task->privdata);
    if (task->parent == nullptr) return &replies.reply_;
    auto& parent = *static_cast<Reply*>(task->parent->obj);
    return &parent.items[static_cast<std::size_t>(task->idx)];
  }
  static void* refuse(const redisReadTask* task, Error why) {
    static_cast<Replies*>(task->privdata)->failed_ = std::move(why);
    return nullptr;
  }

  static void* create_string(const redisReadTask* task, char* text, std::size_t size) {
    Reply& reply = *place(task);
    reply.type = Reply::Type::bulk;
    if (task->type == REDIS_REPLY_STATUS) reply.type = Reply::Type::status;
    if (task->type == REDIS_REPLY_ERROR) reply.type = Reply::Type::error;
    // hiredis skips the two bytes behind a text without looking at them.
    if (std::string_view(text + size, 2) != "\r\n") {
      return refuse(task, {Errc::protocol, "malformed reply: a text without its end"});
    }
    reply.text.assign(text, size);
    return &reply;
  }
  // hiredis before 1.0 counts in int, later in size_t.
  template <class Count>
  static void* create_array(const redisReadTask* task, Count count) {
    Replies& replies = *static_cast<Replies*>(task->privdata);
    std::size_t depth = 1;
    for (const redisReadTask* up = task->parent; up != nullptr; up = up->parent) ++depth;
    const auto size = static_cast<std::size_t>(count);
    if (depth > max_depth || size > max_items - replies.items_) {
      return refuse(task, {Errc::limit, fmt::format("a reply has over {} items, or arrays more "
                                                    "than {} deep",
                                                    max_items, max_depth)});
    }
    replies.items_ += size;
    Reply& reply = *place(task);
    reply.type = Reply::Type::array;
    reply.items.resize(size);
    return &reply;
  }
  static void* create_integer(const redisReadTask* task, long long number) {
    Reply& reply = *place(task);
    reply.type = Reply::Type::integer;
    reply.integer = number;
    return &reply;
  }
  static void* create_nil(const redisReadTask* task) {
    return place(task);  // as it was made
  }
  static void free_object(void* /*object*/) {}  // Replies owns them all

  template <class Functions>
  static Functions functions() {
    Functions made{};
    made.createString = create_string;
    made.createArray = create_array;
    made.createInteger = create_integer;
    made.createNil = create_nil;
    made.freeObject = free_object;
    // RESP3, which we do not ask for.
    if constexpr (requires { made.createDouble; }) {
      made.createDouble = [](const redisReadTask* task, double, char*, std::size_t) {
        return refuse(task, {Errc::protocol, "malformed reply: not of RESP2"});
      };
      made.createBool = [](const redisReadTask* task, int) {
        return refuse(task, {Errc::protocol, "malformed reply: not of RESP2"});
      };
    }
    return made;
  }
};

void Replies::Close::operator()(redisReader* reader) const noexcept {
  redisReaderFree(reader);
}

Replies::Replies() {
  clear();
}

Replies::~Replies() = default;

void Replies::clear() {
  static redisReplyObjectFunctions functions = Build::functions<redisReplyObjectFunctions>();
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  reader_->privdata = this;
  reply_ = {};
  taken_ = items_ = 0;
  failed_.reset();
}

void Replies::feed(std::string_view bytes) {
  if (!failed_) redisReaderFeed(reader_.get(), bytes.data(), bytes.size());
}

Result<std::optional<Reply>> Replies::next() {
  if (failed_) return *failed_;
  const std::size_t unread_before = reader_->len - reader_->pos;
  void* whole = nullptr;
  if (redisReaderGetReply(reader_.get(), &whole) != REDIS_OK) {
    if (failed_) return fail(*std::move(failed_));
    return fail({Errc::protocol, fmt::format("malformed reply: {}", plain(reader_->errstr))});
  }
  const std::string_view unread(reader_->buf + reader_->pos, reader_->len - reader_->pos);
  taken_ += unread_before - unread.size();
  if (whole != nullptr ? taken_ > max_reply : too_large(unread)) {
    return fail({Errc::limit, fmt::format("a reply is over {} bytes", max_reply)});
  }
  if (whole == nullptr) return std::optional<Reply>{};
  taken_ = items_ = 0;
  return std::optional<Reply>{std::exchange(reply_, {})};
}

// What the reader leaves of an unfinished reply begins behind the mark of a value. When a whole
// line is there, then it is the length of a text that has not come whole.
bool Replies::too_large(std::string_view unread) const {
  constexpr std::size_t longest_length = 20;
  const std::size_t end = unread.substr(0, longest_length + 2).find("\r\n");
  if (end == std::string_view::npos) return taken_ + unread.size() > max_reply;
  const auto announced = base::parse_decimal(unread.substr(0, end), max_reply);
  return !announced || taken_ + end + 2 + *announced + 2 > max_reply;
}

// Lets go of what was read so far.
Error Replies::fail(Error why) {
  clear();
  failed_ = std::move(why);
  return *failed_;
}

Greeting greeting(const Url& url) {
  Greeting made;
  if (!url.password.empty()) {
    if (url.user.empty()) {
      append_command(made.bytes, {"AUTH", url.password});
    } else {
      append_command(made.bytes, {"AUTH", url.user, url.password});
    }
    made.steps.emplace_back("AUTH");
  }
  if (url.db != 0) {
    append_command(made.bytes, {"SELECT", std::to_string(url.db)});
    made.steps.emplace_back("SELECT");
  }
  append_command(made.bytes, {"CLIENT", "SETNAME", "proxycore"});
  made.steps.emplace_back("CLIENT");
  return made;
}

Result<void> check_greeting(std::string_view step, const Reply& reply) {
  if (!reply.is(Reply::Type::error)) return {};
  const Error why = error_of(step, {}, reply);
  if (step == "AUTH") return Error{Errc::denied, why.detail};
  // A user may lack the permission for CLIENT; one that must log in first cannot go on.
  if (step == "CLIENT" && !reply.text.starts_with("NOAUTH") && why.code != Errc::busy) return {};
  return why;
}

std::string operation(std::string_view command, std::string_view key) {
  return key.empty() ? std::string{command} : fmt::format("{} {}", command, plain(key));
}

Error error_of(std::string_view command, std::string_view key, const Reply& error) {
  const std::string doing = operation(command, key);
  const std::string_view text = error.text;
  const std::string_view word = text.substr(0, text.find(' '));
  if (word == "WRONGTYPE") {
    return {Errc::invalid,
            fmt::format("{}: expected {}, found another type", doing, type_of_key(command))};
  }
  for (const Word& known : words) {
    if (word == known.text) return {known.code, fmt::format("{}: {}", doing, known.meaning)};
  }
  // An unknown command is told with its arguments.
  const std::string_view told = text.substr(0, text.find(", with args"));
  return {Errc::protocol, fmt::format("{}: the server says: {}", doing, plain(told))};
}

Error unexpected(std::string_view command, std::string_view key, std::string_view expected,
                 const Reply& found) {
  return {Errc::protocol, fmt::format("{}: expected {}, found {}", operation(command, key),
                                      expected, name_of(found.type))};
}

}  // namespace proxycore::redis
