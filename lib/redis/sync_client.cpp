#include "redis/sync_client.h"

#include "io/address.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

// getaddrinfo(3) knows no deadline: it runs on a thread of its own, which may outlive the question.
Result<std::vector<io::Address>> resolve(const std::string& name, std::uint16_t port,
                                         const Deadline& by) {
  if (const auto literal = io::Address::parse(name, port)) return std::vector{*literal};
  struct Question {
    std::mutex mutex;
    std::condition_variable_any answered;
    bool done = false;
    int code = 0;
    std::vector<io::Address> found = {};
  };
  const auto question = std::make_shared<Question>();
  std::thread([question, name, port] {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int code = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
    const std::lock_guard lock(question->mutex);
    question->code = code;
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
      question->found.emplace_back(*one->ai_addr).set_port(port);
    }
    if (list != nullptr) ::freeaddrinfo(list);
    question->done = true;
    question->answered.notify_all();
  }).detach();
  std::unique_lock lock(question->mutex);
  const bool done =
      question->answered.wait_for(lock, by.stop(), by.left(), [&] { return question->done; });
  if (by.cancelled()) return Error{Errc::cancelled};
  if (!done) return Error{Errc::timeout, "looking up its name"};
  if (question->code != 0 || question->found.empty()) {
    return Error{Errc::not_found,
                 fmt::format("looking up its name: {}", ::gai_strerror(question->code))};
  }
  return question->found;
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

SyncClient::SyncClient(Url url, Backoff& backoff)
    : url_(std::move(url)), backoff_(backoff), wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

SyncClient::~SyncClient() {
  drop();
  if (wake_ >= 0) ::close(wake_);
}

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
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  replies_.clear();
  out_.clear();
  sent_ = owed_ = 0;
}

Result<void> SyncClient::dial(const Deadline& by) {
  if (wake_ < 0) return Error{Errc::io, "eventfd: too many open files"};
  if (!url_.path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, url_.path.data(), url_.path.size());  // Url has checked its size
    return open(AF_UNIX, &address, sizeof address, by);
  }
  PX_TRY(const auto addresses, resolve(url_.host, url_.port, by));
  Result<void> opened = Error{Errc::not_found, "no address"};
  for (const io::Address& address : addresses) {
    opened = open(address.family(), address.data(), address.size(), by);
    if (opened || opened.error().code == Errc::cancelled) break;
  }
  return opened;
}

Result<void> SyncClient::open(int family, const void* address, std::size_t size,
                              const Deadline& by) {
  drop();
  socket_ = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return failed("socket", errno);
  const int on = 1;
  if (family != AF_UNIX) ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket_, static_cast<const sockaddr*>(address), static_cast<socklen_t>(size)) ==
      0) {
    return {};
  }
  // A Unix socket whose queue is full says EAGAIN and cannot be waited for.
  if (errno != EINPROGRESS) return failed("connect", errno);
  auto done = ready(true, by);
  if (!done) return std::move(done).error().within("connect");
  int code = 0;
  socklen_t code_size = sizeof code;
  ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &code, &code_size);
  if (code != 0) return failed("connect", code);
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
    if (socket_ < 0) return Error{Errc::closed, "not connected"};
    const bool to_write = unsent() != 0;
    if (to_write) PX_CHECK(write_some());
    if (auto turned = ready(unsent() != 0, by); !turned) {
      if (turned.error().code == Errc::timeout) return std::optional<Reply>{};
      return std::move(turned).error();
    }
    PX_CHECK(read_some());
  }
}

// Waits until there is something to read, or room to write if that is wanted.
Result<void> SyncClient::ready(bool to_write, const Deadline& by) {
  if (by.cancelled()) return Error{Errc::cancelled};
  const auto wake_up = [this] { static_cast<void>(::eventfd_write(wake_, 1)); };
  std::optional<std::stop_callback<decltype(wake_up)>> on_stop;
  if (by.stop().stop_possible()) on_stop.emplace(by.stop(), wake_up);
  const auto events = static_cast<short>(to_write ? POLLIN | POLLOUT : POLLIN);
  std::array<pollfd, 2> waited{{{socket_, events, 0}, {wake_, POLLIN, 0}}};
  for (;;) {
    const int count = ::poll(waited.data(), waited.size(), static_cast<int>(by.left().count()));
    if (count < 0 && errno != EINTR) return failed("poll", errno);
    if (count > 0 || by.passed() || by.cancelled()) break;
  }
  on_stop.reset();
  eventfd_t ignored = 0;
  static_cast<void>(::eventfd_read(wake_, &ignored));
  if (by.cancelled()) return Error{Errc::cancelled};
  if (waited[0].revents == 0) return Error{Errc::timeout, "no answer in time"};
  return {};
}

Result<void> SyncClient::read_some() {
  std::array<char, Replies::good_read> buffer;
  const ssize_t count = ::recv(socket_, buffer.data(), buffer.size(), 0);
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
  const ssize_t count = ::send(socket_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
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
  if (socket_ < 0 || owed_ != 0) return false;
  char byte = 0;
  return ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EINTR);
}

}  // namespace proxycore::redis
