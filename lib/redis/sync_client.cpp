#include "redis/sync_client.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fmt/format.h>

namespace proxycore::redis {

namespace {

Error failed(std::string_view doing, int code) {
  const Errc errc = code == ECONNREFUSED || code == ENOENT ? Errc::refused : Errc::io;
  return {errc, fmt::format("{}: {}", doing, std::strerror(code))};
}

// What the command is about; "" where that is no key.
std::string_view key_of(Args args) {
  constexpr std::size_t first_of_script = 3;
  const bool is_script = args[0] == "EVAL";
  const std::size_t at = is_script ? first_of_script : 1;
  return args[0] == "SCAN" || args.size() <= at ? std::string_view{} : args[at];
}

Deadline at_most(const Deadline& by, Millis span) {
  return {std::min(by.at(), Deadline::Clock::now() + span), by.stop()};
}

}  // namespace

Result<void> Backoff::admit() {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  if (now >= until_) return {};
  return Error{Errc::closed, fmt::format("not tried again for {} ms after: {}",
                                         std::chrono::ceil<Millis>(until_ - now).count(), why_)};
}

void Backoff::failed(const Error& why) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  why_ = why.message();
  if (now < until_) return;  // another connection has failed with it
  span_ = span_ == Millis{0} ? first : std::min(span_ * 2, most);
  until_ = now + span_;
}

void Backoff::succeeded() {
  const std::lock_guard lock(mutex_);
  span_ = Millis{0};
  until_ = {};
}

std::optional<std::string> Backoff::failure() const {
  const std::lock_guard lock(mutex_);
  if (span_ == Millis{0}) return std::nullopt;
  return why_;
}

Millis Backoff::left() const {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  return now < until_ ? std::chrono::ceil<Millis>(until_ - now) : Millis{0};
}

SyncClient::SyncClient(Url url, Backoff& backoff) : url_(std::move(url)), backoff_(backoff) {}

SyncClient::~SyncClient() = default;

Result<Reply> SyncClient::call(Args args, const Deadline& by) {
  send(args);
  auto reply = next_reply(by);
  if (!reply) {
    return std::move(reply)
        .error()
        .within(operation(args[0], key_of(args)))
        .within(url_.describe());
  }
  if (reply->is(Reply::Type::error)) {
    return error_of(args[0], key_of(args), *reply).within(url_.describe());
  }
  return reply;
}

Result<void> SyncClient::connect(const Deadline& by) {
  if (by.cancelled()) return Error{Errc::cancelled};
  if (still_good()) return {};
  drop();
  Result<void> made = backoff_.admit();
  // Who comes without time learns nothing about the server.
  if (made && by.passed()) made = Error{Errc::timeout, "no time to connect"};
  if (made) {
    const Deadline soon = at_most(by, connect_patience);
    made = dial(soon);
    if (made) made = greet(soon);
    if (made) {
      backoff_.succeeded();
      return made;
    }
    drop();
    if (made.error().code != Errc::cancelled) backoff_.failed(made.error());
  }
  return std::move(made).error().within(url_.describe());
}

void SyncClient::send(Args args) {
  append_command(out_, args);
  ++owed_;
}

Result<Reply> SyncClient::receive(const Deadline& by) {
  auto reply = next_reply(by);
  if (!reply) return std::move(reply).error().within(url_.describe());
  return reply;
}

Result<std::optional<Reply>> SyncClient::wait(const Deadline& by) {
  auto reply = next(by);
  if (reply || reply.error().code == Errc::cancelled) return reply;
  drop();
  return std::move(reply).error().within(url_.describe());
}

void SyncClient::drop() {
  socket_.close();
  replies_.clear();
  out_.clear();
  sent_ = owed_ = 0;
}

Result<void> SyncClient::dial(const Deadline& by) {
  if (!url_.path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, url_.path.data(), url_.path.size());  // Url has checked its size
    socket_ = io::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_) return failed("socket", errno);
    // At once or not at all: with a full queue it says EAGAIN and cannot be waited for.
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0) {
      return failed("connect", errno);
    }
    return {};
  }
  PX_TRY(const auto addresses, io::resolve(url_.host, url_.port, by));
  PX_TRY(socket_, io::connect(addresses, poll_, by));
  return {};
}

Result<void> SyncClient::greet(const Deadline& by) {
  Greeting words = greeting(url_);
  out_ = std::move(words.bytes);
  owed_ = words.steps.size();
  for (const std::string_view step : words.steps) {
    auto reply = next_reply(by);
    if (!reply) return std::move(reply).error().within(step);
    PX_CHECK(check_greeting(step, *reply));
  }
  return {};
}

Result<Reply> SyncClient::next_reply(const Deadline& by) {
  auto reply = next(at_most(by, answer_patience));
  if (reply && *reply) {
    --owed_;
    return **std::move(reply);
  }
  drop();
  if (!reply) return std::move(reply).error();
  return Error{Errc::timeout, "no answer in time"};
}

Result<std::optional<Reply>> SyncClient::next(const Deadline& by) {
  for (;;) {
    PX_TRY(auto reply, replies_.next());
    if (reply) return reply;
    if (!socket_) return Error{Errc::closed, "not connected"};
    if (unsent() != 0) PX_CHECK(write_some());
    const auto wanted = static_cast<short>(unsent() != 0 ? POLLIN | POLLOUT : POLLIN);
    if (auto turned = poll_.wait(socket_, wanted, by); !turned) {
      if (turned.error().code == Errc::timeout) return std::optional<Reply>{};
      return std::move(turned).error();
    }
    PX_CHECK(read_some());
  }
}

Result<void> SyncClient::read_some() {
  std::array<char, Replies::good_read> buffer;
  const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (count > 0) {
    replies_.feed({buffer.data(), static_cast<std::size_t>(count)});
    return {};
  }
  if (count == 0) return Error{Errc::closed, "the server closed the connection"};
  if (errno == EAGAIN || errno == EINTR) return {};
  if (errno == ECONNRESET) return Error{Errc::closed, "the server reset the connection"};
  return failed("receive", errno);
}

Result<void> SyncClient::write_some() {
  const ssize_t count =
      ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    if (errno != EPIPE && errno != ECONNRESET) return failed("send", errno);
    return Error{Errc::closed, "the server closed the connection"};
  }
  if (count > 0) sent_ += static_cast<std::size_t>(count);
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  }
  return {};
}

// A server that ended an idle connection has said so; nothing else may come on it.
bool SyncClient::still_good() const {
  if (!socket_ || owed_ != 0) return false;
  char byte = 0;
  return ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EINTR);
}

}  // namespace proxycore::redis
