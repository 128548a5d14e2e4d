#include "io/blocking.h"

#include "io/resolver.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

namespace proxycore::io {

namespace {

constexpr Millis stagger{250};  // RFC 8305 §5

Error failed(std::string_view doing, int code) {
  const Errc errc = code == ECONNREFUSED ? Errc::refused
                    : code == ETIMEDOUT  ? Errc::timeout
                                         : Errc::io;
  return {errc, fmt::format("{}: {}", doing, std::strerror(code))};
}

Error connect_failed(const Address& to, int code) {
  return failed("connect to " + to.text(), code);
}

Deadline at_most(const Deadline& by, Millis span) {
  return {std::min(by.at(), Deadline::Clock::now() + span), by.stop()};
}

// Attempts to connect that are under way.
class Attempts {
 public:
  // A connection, if there is one at once.
  Fd begin(const Address& to) {
    Fd fd(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) {
      why_ = failed("socket", errno);
      return {};
    }
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd.get(), to.data(), to.size()) == 0) return fd;
    if (errno == EINPROGRESS) {
      pending_.push_back({std::move(fd), to});
    } else {
      why_ = connect_failed(to, errno);
    }
    return {};
  }
  // A connection, once one is there; an empty Fd: one of them failed.
  Result<Fd> wait(Poll& poll, const Deadline& by) {
    std::array<pollfd, Poll::most> watched{};
    const std::size_t count = std::min(pending_.size(), watched.size());
    for (std::size_t i = 0; i < count; ++i) watched[i] = {pending_[i].fd.get(), POLLOUT, 0};
    PX_CHECK(poll.wait({watched.data(), count}, by));
    for (std::size_t i = count; i-- > 0;) {
      if (watched[i].revents == 0) continue;
      int code = 0;
      socklen_t size = sizeof code;
      ::getsockopt(watched[i].fd, SOL_SOCKET, SO_ERROR, &code, &size);
      if (code == 0) return std::move(pending_[i].fd);
      why_ = connect_failed(pending_[i].to, code);
      pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return Fd{};
  }
  [[nodiscard]] bool none() const noexcept { return pending_.empty(); }
  [[nodiscard]] const Error& why() const noexcept { return why_; }

 private:
  struct Attempt {
    Fd fd;
    Address to;
  };
  std::vector<Attempt> pending_;
  Error why_{Errc::not_found, "no address"};
};

}  // namespace

void Fd::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Poll::Poll() : wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Result<void> Poll::wait(std::span<pollfd> watched, const Deadline& by) {
  if (by.cancelled()) return Error{Errc::cancelled};
  if (!wake_) return Error{Errc::io, "eventfd: too many open files"};
  const auto wake_up = [this] { static_cast<void>(::eventfd_write(wake_.get(), 1)); };
  std::optional<std::stop_callback<decltype(wake_up)>> on_stop;
  if (by.stop().stop_possible()) on_stop.emplace(by.stop(), wake_up);
  std::array<pollfd, most + 1> all{};
  const std::size_t count = std::min(watched.size(), most);
  std::copy_n(watched.begin(), count, all.begin());
  all[count] = {wake_.get(), POLLIN, 0};
  for (;;) {
    const int ready = ::poll(all.data(), count + 1, static_cast<int>(by.left().count()));
    if (ready < 0 && errno != EINTR) return failed("poll", errno);
    if (ready > 0 || by.passed() || by.cancelled()) break;
  }
  on_stop.reset();
  eventfd_t ignored = 0;
  static_cast<void>(::eventfd_read(wake_.get(), &ignored));
  if (by.cancelled()) return Error{Errc::cancelled};
  std::copy_n(all.begin(), count, watched.begin());
  const bool none = std::none_of(watched.begin(), watched.end(),
                                 [](const pollfd& one) { return one.revents != 0; });
  if (none) return Error{Errc::timeout, "no answer in time"};
  return {};
}

Result<void> Poll::wait(const Fd& one, short events, const Deadline& by) {
  pollfd watched{one.get(), events, 0};
  return wait({&watched, 1}, by);
}

Result<std::vector<Address>> resolve(const std::string& name, std::uint16_t port,
                                     const Deadline& by) {
  if (const auto literal = Address::parse(name, port)) return std::vector{*literal};
  struct Question {
    std::mutex mutex;
    std::condition_variable_any answered;
    std::optional<Addresses> answer = {};
  };
  const auto question = std::make_shared<Question>();
  std::thread([question, name] {
    Addresses answer = look_up(name);
    const std::lock_guard lock(question->mutex);
    question->answer = std::move(answer);
    question->answered.notify_all();
  }).detach();
  std::unique_lock lock(question->mutex);
  const bool done = question->answered.wait_for(lock, by.stop(), by.left(),
                                                [&] { return question->answer.has_value(); });
  if (by.cancelled()) return Error{Errc::cancelled};
  if (!done) return Error{Errc::timeout, fmt::format("resolve '{}': no answer in time", name)};
  PX_TRY(std::vector<Address> found, std::move(*question->answer));
  for (Address& address : found) address.set_port(port);
  return found;
}

Result<Fd> connect(std::span<const Address> addresses, Poll& poll, const Deadline& by) {
  Attempts attempts;
  for (auto next = addresses.begin();;) {
    if (next != addresses.end()) {
      if (Fd fd = attempts.begin(*next++)) return fd;
    }
    const bool last = next == addresses.end();
    if (attempts.none()) {
      if (last) return attempts.why();
      continue;
    }
    auto done = attempts.wait(poll, last ? by : at_most(by, stagger));
    if (done && *done) return done;
    if (!done && (last || by.passed() || done.error().code != Errc::timeout)) {
      return std::move(done).error().within("connect");
    }
  }
}

}  // namespace proxycore::io
