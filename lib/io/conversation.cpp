#include "io/conversation.h"

#include "base/log.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace proxycore::io {

namespace {
// Languages copy what they are fed: in pieces, so that they hold little of a long answer.
constexpr std::size_t fed_at_once = std::size_t{16} << 10;
constexpr std::uint8_t most_sent = 2;
constexpr Millis one_turn{1};  // of the loop, at least
constexpr Millis name_ttl{30'000};
constexpr Millis name_failure_ttl{1'000};
}  // namespace

Conversation::Conversation(Loop& loop, Server server, Language& language, const Limits& limits,
                           Resolver::Query query)
    : loop_(loop),
      server_(std::move(server)),
      language_(language),
      limits_(limits),
      resolver_(loop, name_ttl, name_failure_ttl, std::move(query)),
      out_(loop.slabs()),
      call_timer_(loop.timers(), *this, [](Conversation& self) { self.check_time(); }),
      phase_timer_(loop.timers(), *this, [](Conversation& self) { self.on_phase_over(); }),
      back_off_(limits.back_off) {
  connect();
}

Result<void> Conversation::ask(std::string request, Call& later) {
  if (state_ == State::resting) return failure_;
  if (late_) return Error{Errc::busy, server_.name + ": it has stopped answering"};
  if (waiting_.size() + asked_.size() >= limits_.most) {
    return Error{Errc::busy, server_.name + ": too many requests wait for it"};
  }
  Request& added = waiting_.emplace_back();
  added.bytes = std::move(request);
  added.deadline = loop_.now() + limits_.timeout.count();
  added.call.push_back(later);
  if (!call_timer_.armed()) call_timer_.arm(limits_.timeout);
  if (state_ == State::open) loop_.later(*this);
  return {};
}

// --- the connection comes up

void Conversation::connect() {
  state_ = State::connecting;
  answered_ = false;
  phase_timer_.arm(limits_.connect);
  addresses_.clear();
  if (!server_.path.empty()) return open(Socket::connect(loop_, server_.path));
  if (const auto address = Address::parse(server_.host, server_.port)) {
    return open(Socket::connect(loop_, *address));
  }
  if (const auto known = resolver_.find(server_.host, *this)) on_resolved(*known);
}

void Conversation::on_resolved(const Addresses& answer) {
  if (!answer) return lost(answer.error());
  addresses_.assign(answer->rbegin(), answer->rend());
  connect_next();
}

void Conversation::connect_next() {
  Address address = addresses_.back();
  addresses_.pop_back();
  address.set_port(server_.port);
  open(Socket::connect(loop_, address));
}

void Conversation::open(Result<std::unique_ptr<Socket>> made) {
  if (!made) return lost(made.error());
  phase_timer_.arm(limits_.connect);
  socket_ = *std::move(made);
  socket_->start(*this);
}

void Conversation::on_open() {
  state_ = State::greeting;
  greetings_had_ = 0;
  greetings_ = language_.greet(out_);
  loop_.later(*this);
  if (greetings_ == 0) begin();
}

void Conversation::begin() {
  state_ = State::open;
  late_ = false;
  since_ = loop_.now();
  phase_timer_.cancel();
  if (down_) base::log::info("server.back", {{"server", server_.name}});
  down_ = false;
  loop_.later(*this);
}

// --- requests and replies

void Conversation::on_later() {
  if (state_ == State::open) send_more();
  if (socket_ && !out_.empty()) socket_->write(out_);
}

void Conversation::on_writable() {
  socket_->write(out_);
}

void Conversation::send_more() {
  while (asked_.size() < limits_.unanswered && !waiting_.empty()) {
    Request& next = waiting_.front();
    if (next.call.empty()) {
      waiting_.pop_front();
      continue;
    }
    out_.append(next.bytes);
    ++next.sent;
    asked_.splice(asked_.end(), waiting_, waiting_.begin());
  }
}

void Conversation::on_bytes(Bytes in) {
  std::string_view rest = in.text();
  while (!rest.empty()) {
    language_.feed(rest.substr(0, fed_at_once));
    rest.remove_prefix(std::min(rest.size(), fed_at_once));
    for (;;) {
      const Result<bool> whole = language_.next();
      if (!whole) return refused(whole.error());
      if (!*whole) break;
      const Result<void> taken = take_reply();
      if (!taken) return lost(taken.error());
    }
  }
}

Result<void> Conversation::take_reply() {
  if (state_ == State::greeting) {
    PX_CHECK(language_.greeted(greetings_had_++));
    if (greetings_had_ == greetings_) begin();
    return {};
  }
  if (asked_.empty()) return Error{Errc::protocol, "a reply to nothing that was asked"};
  answered_ = true;
  back_off_ = limits_.back_off;
  if (std::exchange(late_, false)) phase_timer_.cancel();
  Requests done;
  done.splice(done.end(), asked_, asked_.begin());
  if (!waiting_.empty()) loop_.later(*this);
  if (!done.front().call.empty()) done.front().call.pop_front().on_reply();
  return {};
}

// --- what goes wrong

Error Conversation::told(const Error& why, Errc code) const {
  return Error{code, why.detail}.within(server_.name);
}

void Conversation::check_time() {
  const std::int64_t now = loop_.now();
  const auto is_late = [now](const Request& request) {
    return !request.late && !request.call.empty() && request.deadline <= now;
  };
  const bool any_due = (!waiting_.empty() && waiting_.front().deadline <= now) ||
                       std::any_of(asked_.begin(), asked_.end(), is_late);
  // A turn of the loop begins with the timers: if we were held up, the reply may be there already.
  if (any_due && !std::exchange(read_on_, true)) return call_timer_.arm(one_turn);
  read_on_ = false;
  base::List<Call> unsent;
  while (!waiting_.empty() && waiting_.front().deadline <= now) {
    if (!waiting_.front().call.empty()) unsent.push_back(waiting_.front().call.front());
    waiting_.pop_front();
  }
  std::int64_t next = waiting_.empty() ? INT64_MAX : waiting_.front().deadline;
  bool any = !unsent.empty();
  for (const Request& request : asked_) {
    if (request.deadline > now) next = std::min(next, request.deadline);
    any = any || is_late(request);
  }
  if (next != INT64_MAX) call_timer_.arm(Millis{next - now});
  if (!any) return;
  // What was asked is the probe: its reply, however late, tells that the server is back.
  if (!late_ && state_ == State::open) phase_timer_.arm(limits_.patience);
  late_ = true;
  const Error why =
      told({Errc::timeout, "no answer in " + std::to_string(limits_.timeout.count()) + " ms"},
           Errc::timeout);
  static base::log::Throttle throttle;
  base::log::write(throttle, LogLevel::warning, "server.late",
                   {{"server", server_.name}, {"why", why.detail}});
  // Nothing is added to what was asked, or taken off it, by those who are told.
  for (Request& request : asked_) {
    if (!is_late(request)) continue;
    request.late = true;
    request.call.front().on_failure(why);
  }
  while (!unsent.empty()) unsent.pop_front().on_failure(why);
}

void Conversation::on_phase_over() {
  switch (state_) {
    case State::resting:
      return connect();
    case State::connecting:
      return lost({Errc::timeout, "connect: no answer in time"});
    case State::greeting:
      return lost({Errc::timeout, "connected, but no answer in time"});
    case State::open:
      return lost({Errc::timeout, "no answer for too long"});
  }
}

void Conversation::on_end() {
  lost({Errc::closed, "it has closed the connection"});
}

void Conversation::on_closed(const Error& why) {
  lost(why);
}

// The reply to the oldest request cannot be taken: that is no other's fault.
void Conversation::refused(const Error& why) {
  base::List<Call> failing;
  if (state_ == State::open && !asked_.empty()) {
    answered_ = true;
    if (!asked_.front().call.empty()) failing.push_back(asked_.front().call.front());
    asked_.pop_front();
  }
  lost(why);
  const Error reason = told(why, why.code);
  if (!failing.empty()) failing.pop_front().on_failure(reason);
}

void Conversation::lost(const Error& why) {
  const bool was_open = state_ == State::open;
  static_cast<Resolver::Waiter&>(*this).unlink();
  socket_.reset();
  out_.clear();
  language_.clear();

  base::List<Call> given_up;
  asked_.remove_if([&](Request& request) {
    if (request.call.empty()) return true;
    if (!request.late && request.sent < most_sent) return false;
    given_up.push_back(request.call.front());
    return true;
  });
  waiting_.splice(waiting_.begin(), asked_);

  const bool was_of_use =
      answered_ || (was_open && loop_.now() - since_ >= limits_.back_off_most.count());
  if (!was_open && !addresses_.empty()) {
    state_ = State::connecting;
    connect_next();
  } else if (was_open && was_of_use) {
    static base::log::Throttle throttle;
    base::log::write(throttle, LogLevel::warning, "server.lost",
                     {{"server", server_.name}, {"why", why.detail}});
    back_off_ = limits_.back_off;
    connect();
  } else {
    rest(why, given_up);
  }
  const Error closed = told(why, Errc::closed);
  while (!given_up.empty()) given_up.pop_front().on_failure(closed);
}

void Conversation::rest(const Error& why, base::List<Call>& failing) {
  state_ = State::resting;
  failure_ = told(why, Errc::closed);
  if (!std::exchange(down_, true)) {
    base::log::warning("server.away", {{"server", server_.name}, {"why", why.detail}});
  }
  phase_timer_.arm(back_off_);
  back_off_ = std::min(back_off_ * 2, limits_.back_off_most);
  for (Request& request : waiting_) {
    if (!request.call.empty()) failing.push_back(request.call.front());
  }
  waiting_.clear();
}

}  // namespace proxycore::io
