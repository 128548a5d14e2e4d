#include "http/h1_codec.h"

#include "base/text.h"
#include "http/framing.h"
#include "http/h1_parser.h"
#include "http/h1_write.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace proxycore::http {

namespace {

constexpr std::size_t kept_parsers = 1024;

// Method, blanks and version beside the target.
constexpr std::size_t line_slack = 64;

// RFC 9112 §2.2: a server ignores at least one empty line before a request.
constexpr std::uint8_t max_blank = 4 * 2;

}  // namespace

H1Parsers::H1Parsers() = default;
H1Parsers::~H1Parsers() = default;

std::unique_ptr<H1Parser> H1Parsers::take() {
  if (free_.empty()) return std::make_unique<H1Parser>();
  std::unique_ptr<H1Parser> parser = std::move(free_.back());
  free_.pop_back();
  return parser;
}

void H1Parsers::give_back(std::unique_ptr<H1Parser> parser) {
  if (free_.size() < kept_parsers) free_.push_back(std::move(parser));
}

H1Codec::H1Codec(Role role, const Limits& limits, base::Slabs& slabs, H1Parsers& parsers,
                 Peer& peer)
    : limits_(limits), parsers_(parsers), peer_(peer), output_(slabs), kept_(slabs), role_(role) {}

H1Codec::~H1Codec() {
  if (parser_) parsers_.give_back(std::move(parser_));
}

// --- input

void H1Codec::feed(Bytes in) {
  if (in_ == In::ignore && !in.empty()) unread_ = true;
  if (feeding_ || in_ == In::ignore) return;
  feeding_ = true;
  ended_ = false;
  if (kept_.empty()) {
    const std::size_t used = consume(in);
    if (used < in.size) kept_.append(in.from(used));
  } else {
    if (!in.empty()) kept_.append(in);
    while (!kept_.empty()) {
      const Bytes piece = kept_.front();
      const base::SlabRef hold(piece.slab);
      const std::size_t used = consume(piece);
      kept_.consume(used);
      if (used < piece.size) break;
    }
  }
  // What comes behind a response belongs to none.
  if (role_ == Role::client && !open_ && !kept_.empty()) shut();
  if (eof_ && kept_.empty() && !paused_) finish_input();
  feeding_ = false;
  drop_input();
  tell_receive();
}

bool H1Codec::may_read() const noexcept {
  switch (in_) {
    case In::idle:
      if (role_ == Role::client) return open_;
      return !ended_ && output_.size() < limits_.high_water;
    case In::line:
    case In::fields:
    case In::ignore:
      return true;
    case In::length:
    case In::until_close:
    case In::chunked:
    case In::tunnel:
      return !paused_;
    case In::done:
      return false;
  }
  return false;
}

std::size_t H1Codec::consume(Bytes in) {
  std::size_t at = 0;
  while (at < in.size && may_read()) {
    const Bytes rest = in.from(at);
    switch (in_) {
      case In::idle:
        at += read_idle(rest);
        break;
      case In::line:
        at += read_line(rest);
        break;
      case In::fields:
        at += read_fields(rest);
        break;
      case In::chunked:
        at += read_chunks(rest);
        break;
      case In::length:
      case In::until_close:
      case In::tunnel:
        at += read_content(rest);
        break;
      case In::done:
      case In::ignore:
        unread_ = true;
        return in.size;
    }
  }
  return at;
}

std::size_t H1Codec::read_idle(Bytes in) {
  const char first = in.data[0];
  if (role_ == Role::server) {
    const bool after_cr = blank_ % 2 == 1;
    if (after_cr && first != '\n') {
      fail({Errc::protocol, 400, "bare CR before the request line (RFC 9112 §2.2)"});
      return 0;
    }
    if (after_cr || (first == '\r' && blank_ < max_blank)) {
      ++blank_;
      return 1;
    }
  }
  // Refused at once, as no line end may ever come (TLS on this port).
  if (role_ == Role::server ? !base::is_token_char(first) : first != 'H') {
    fail({Errc::protocol, 400, "not HTTP/1"});
    return 0;
  }
  if (!parser_) parser_ = parsers_.take();
  parser_->begin();
  in_ = In::line;
  return 0;
}

std::size_t H1Codec::read_line(Bytes in) {
  std::string& before = parser_->line;
  const std::size_t most =
      role_ == Role::server ? limits_.target_size + line_slack : limits_.header_size;
  const std::string_view text = in.text().substr(0, most - before.size());
  const std::size_t feed_at = text.find('\n');
  if (feed_at == std::string_view::npos) {
    before.append(text);
    if (before.size() == most) fail({Errc::limit, 414, "request line is too long"});
    return text.size();
  }
  std::string_view line = text.substr(0, feed_at);
  if (!before.empty()) line = before.append(line);
  const std::size_t size = line.size() + 1;
  if (line.empty() || line.back() != '\r') {
    fail({Errc::protocol, 400, "start line ends without CR (RFC 9112 §2.2)"});
    return feed_at + 1;
  }
  line.remove_suffix(1);

  Head& head = parser_->head;
  framing::Fault fault;
  if (role_ == Role::server) {
    fault = framing::read_request_line(line, limits_, head);
    to_head_ = head.method == "HEAD";
    http10_ = head.version == Version::http10;
  } else {
    fault = framing::read_status_line(line, head);
  }
  if (fault) {
    fail(*fault);
  } else {
    parser_->begin_fields(limits_, size);
    in_ = In::fields;
  }
  return feed_at + 1;
}

std::size_t H1Codec::read_fields(Bytes in) {
  Bytes rest = in;
  const H1Parser::Step step = parser_->run(rest);
  if (step == H1Parser::Step::fault) {
    fail(parser_->fault());
  } else if (step == H1Parser::Step::fields) {
    role_ == Role::server ? begin_exchange() : take_response();
  }
  return in.size - rest.size;
}

void H1Codec::begin_exchange() {
  Head& head = parser_->head;
  if (const framing::Fault fault = framing::settle_request(head, limits_)) {
    fail(*fault);
    return;
  }
  persistent_ = framing::persistent(head);
  last_ = !persistent_;
  upgrade_ = head.upgrade;
  open_ = true;
  out_ = Out::head;
  begin_content(head.framing);
  events_ = &peer_.on_stream(*this);
  events_->on_head(head, in_ == In::done ? End::yes : End::no);
  settle();
}

void H1Codec::take_response() {
  Head& head = parser_->head;
  if (const framing::Fault fault = framing::settle_response(head, to_head_)) {
    fail(*fault);
    return;
  }
  if (head.status == 101) {
    if (!upgrade_ || out_ != Out::done) {
      fail({Errc::protocol, 502, "101 that nobody asked for (RFC 9110 §7.8)"});
      return;
    }
    persistent_ = false;
    in_ = In::tunnel;
    out_ = Out::tunnel;
    events_->on_head(head, End::no);
    return;
  }
  if (head.informational()) {
    in_ = In::idle;
    events_->on_head(head, End::no);
    return;
  }
  if (!framing::persistent(head) || head.framing == Framing::until_close) persistent_ = false;
  begin_content(framing::bodiless(head.status, to_head_) ? Framing::none : head.framing);
  events_->on_head(head, in_ == In::done ? End::yes : End::no);
  settle();
}

void H1Codec::begin_content(Framing framing) noexcept {
  switch (framing) {
    case Framing::none:
      in_ = In::done;
      return;
    case Framing::length:
      in_left_ = parser_->head.content_length;
      in_ = in_left_ > 0 ? In::length : In::done;
      return;
    case Framing::chunked:
      parser_->begin_chunks(role_ == Role::server ? limits_.body_size : UINT64_MAX);
      in_ = In::chunked;
      return;
    case Framing::until_close:
      in_ = In::until_close;
      return;
  }
}

// A 101 may have been sent while the request's content was still coming.
void H1Codec::content_read() noexcept {
  in_ = out_ == Out::tunnel ? In::tunnel : In::done;
}

std::size_t H1Codec::read_content(Bytes in) {
  if (in_ != In::length) {
    events_->on_body(in, End::no);
    return in.size;
  }
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(in.size, in_left_));
  in_left_ -= size;
  if (in_left_ == 0) content_read();
  events_->on_body(in.part(0, size), in_left_ == 0 ? End::yes : End::no);
  settle();
  return size;
}

std::size_t H1Codec::read_chunks(Bytes in) {
  Bytes rest = in;
  switch (parser_->run(rest)) {
    case H1Parser::Step::more:
    case H1Parser::Step::fields:
      break;
    case H1Parser::Step::fault:
      fail(parser_->fault());
      break;
    case H1Parser::Step::body:
      events_->on_body(parser_->body(), End::no);
      break;
    case H1Parser::Step::end:
      content_read();
      framing::drop_forbidden_trailers(parser_->trailers);
      if (parser_->trailers.empty()) {
        events_->on_body({}, End::yes);
      } else {
        events_->on_trailers(parser_->trailers);
      }
      settle();
      break;
  }
  return in.size - rest.size;
}

void H1Codec::end_of_input() {
  eof_ = true;
  feed({});
}

// All input was read and no more comes.
void H1Codec::finish_input() {
  switch (in_) {
    case In::idle:
    case In::line:
    case In::fields:
      if (open_) {
        fail({Errc::closed, 502, "the connection closed before the response"});
      } else {
        shut();
      }
      return;
    case In::length:
    case In::chunked:
      fail({Errc::closed, 400, "the connection closed within the content (RFC 9112 §8)"});
      return;
    case In::until_close:
    case In::tunnel:
      in_ = In::done;
      events_->on_body({}, End::yes);
      settle();
      return;
    case In::done:
    case In::ignore:
      return;
  }
}

// --- output

Flow H1Codec::send_head(const Head& head, End end) {
  if (out_ != Out::head) return Flow::ok;
  if (role_ == Role::server && head.informational()) {
    if (head.status != 101) {
      // RFC 9110 §15.2: not to an HTTP/1.0 client.
      if (!http10_) write_head(head, Framing::none);
      return flow();
    }
    if (!upgrade_) {
      shut();
      return Flow::ok;
    }
    persistent_ = false;
    write_head(head, Framing::none);
    out_ = Out::tunnel;
    if (in_ == In::done) in_ = In::tunnel;
    resume();
    return flow();
  }
  if (role_ == Role::client) {
    to_head_ = head.method == "HEAD";
    upgrade_ = head.upgrade;
  }
  const Framing wire =
      framing::on_wire(head, http10_ ? Version::http10 : Version::http11, to_head_);
  if (draining_ || wire == Framing::until_close) persistent_ = false;
  write_head(head, wire);
  begin_output(wire, head);
  if (end == End::yes) finish_output();
  return flow();
}

void H1Codec::write_head(const Head& head, Framing wire) {
  const bool was_empty = output_.empty();
  append_head(output_, head, {wire, persistent_, http10_});
  if (was_empty) peer_.on_output();
}

void H1Codec::begin_output(Framing wire, const Head& head) noexcept {
  switch (wire) {
    case Framing::none:
      out_ = Out::nothing;
      return;
    case Framing::length:
      out_left_ = length_of(head);
      out_ = Out::length;
      return;
    case Framing::chunked:
      out_ = Out::chunked;
      return;
    case Framing::until_close:
      out_ = Out::until_close;
      return;
  }
}

Flow H1Codec::send_body(Bytes part, End end) {
  const bool was_empty = output_.empty();
  switch (out_) {
    case Out::length:
      if (part.size > out_left_) {
        shut();
        return Flow::ok;
      }
      out_left_ -= part.size;
      if (!part.empty()) output_.append(part);
      break;
    case Out::until_close:
    case Out::tunnel:
      if (!part.empty()) output_.append(part);
      break;
    case Out::chunked:
      append_chunk(output_, part);
      break;
    case Out::nothing:
      break;
    case Out::idle:
    case Out::head:
    case Out::done:
      return Flow::ok;
  }
  if (end == End::yes) finish_output();
  if (was_empty && !output_.empty()) peer_.on_output();
  return flow();
}

void H1Codec::send_trailers(const Fields& trailers) {
  if (out_ != Out::chunked) {
    send_body({}, End::yes);
    return;
  }
  const bool was_empty = output_.empty();
  append_last_chunk(output_, trailers);
  out_ = Out::done;
  if (was_empty) peer_.on_output();
  settle();
}

void H1Codec::finish_output() {
  if (out_ == Out::length && out_left_ > 0) {
    shut();
    return;
  }
  if (out_ == Out::chunked) {
    append_last_chunk(output_);
  } else if (out_ == Out::tunnel) {
    peer_.on_output();  // after_output() changes
  }
  out_ = Out::done;
  settle();
}

Flow H1Codec::flow() noexcept {
  if (output_.size() < limits_.high_water) return Flow::ok;
  was_full_ = open_;
  return Flow::full;
}

void H1Codec::written() {
  if (!was_full_ || output_.size() > limits_.high_water / 2) return;
  was_full_ = false;
  if (events_ != nullptr) events_->on_sendable();
}

// --- the exchange

Stream* H1Codec::open(StreamEvents& events) {
  if (role_ != Role::client || !reusable()) return nullptr;
  events_ = &events;
  open_ = true;
  persistent_ = true;
  out_ = Out::head;
  return this;
}

void H1Codec::receive(bool on) {
  paused_ = !on;
  if (feeding_) return;
  on ? resume() : tell_receive();
}

// What was kept may be read now, which takes a feed() by the connection.
void H1Codec::resume() {
  if (feeding_) return;
  if (kept_.empty()) {
    tell_receive();
    return;
  }
  receiving_ = true;
  peer_.on_receive(true);
}

void H1Codec::tell_receive() {
  bool wanted = true;
  if (in_ == In::done || (in_ == In::idle && !open_)) {
    wanted = kept_.size() < limits_.pipeline;
  } else if (in_ != In::ignore) {
    wanted = !paused_;
  }
  if (wanted == receiving_) return;
  receiving_ = wanted;
  peer_.on_receive(wanted);
}

void H1Codec::reset(Errc) {
  if (!open_) return;
  if (role_ == Role::client && out_ == Out::head && in_ == In::idle) {
    // Nothing of it was on the wire.
    open_ = false;
    events_ = nullptr;
    out_ = Out::idle;
    paused_ = false;
    return;
  }
  cut_ = out_ == Out::until_close;
  shut();
}

void H1Codec::abort(const Reset& why) {
  StreamEvents* events = events_;
  output_.clear();
  close_off();
  if (events != nullptr) events->on_reset(why);
}

void H1Codec::refuse(const Reset& why) {
  if (in_ != In::line && in_ != In::fields) return;
  fail(why);
  drop_input();
}

void H1Codec::drain() {
  draining_ = true;
}

// Ends the exchange once both messages are complete.
void H1Codec::settle() {
  if (!open_ || out_ != Out::done || (in_ != In::done && in_ != In::ignore)) return;
  if (!persistent_ || in_ == In::ignore) {
    shut();
    return;
  }
  open_ = false;
  events_ = nullptr;
  in_ = In::idle;
  out_ = Out::idle;
  blank_ = 0;
  paused_ = false;
  was_full_ = false;
  http10_ = false;
  to_head_ = false;
  ended_ = true;
  if (feeding_) return;
  // After the last request, or with bytes behind a response, which belong to none.
  if (role_ == Role::server ? eof_ && kept_.empty() : eof_ || !kept_.empty()) {
    shut();
    return;
  }
  resume();
}

// The message being read is malformed, too large or truncated.
void H1Codec::fail(Reset why) {
  in_ = In::ignore;
  persistent_ = false;
  if (role_ == Role::client) why.status = 502;
  if (role_ == Role::server && !open_) {
    open_ = true;
    out_ = Out::head;
    events_ = &peer_.on_stream(*this);
  }
  StreamEvents* events = std::exchange(events_, nullptr);
  // Server: a response may follow while none has begun.
  if (role_ == Role::client || out_ != Out::head) {
    if (role_ == Role::server) why.status = 0;
    shut();
  }
  if (events != nullptr) events->on_reset(why);
}

// The connection ends after what output() holds.
void H1Codec::shut() {
  close_off();
  peer_.on_output();
}

void H1Codec::close_off() noexcept {
  // While input is being read, what is left of it decides.
  unread_ = unread_ || (!feeding_ && !kept_.empty()) || (open_ && in_ != In::done);
  open_ = false;
  events_ = nullptr;
  in_ = In::ignore;
  out_ = Out::done;
  closing_ = true;
  was_full_ = false;
  if (!feeding_) drop_input();
}

// Gives back what the state does not need.
void H1Codec::drop_input() noexcept {
  if (in_ == In::ignore) kept_.clear();
  const bool reading = in_ == In::line || in_ == In::fields || in_ == In::chunked;
  if (parser_ && !reading) parsers_.give_back(std::move(parser_));
}

bool H1Codec::persistent() const noexcept {
  return persistent_ && !closing_ && !draining_ && !eof_;
}

bool H1Codec::reusable() const noexcept {
  return !closing_ && !draining_ && !eof_ && idle();
}

bool H1Codec::idle() const noexcept {
  return !open_ && in_ == In::idle && kept_.empty();
}

After H1Codec::after_output() const noexcept {
  if (cut_) return After::abort;
  if (closing_) {
    // A client that has not said that this was its last request may be sending the next one.
    const bool may_send = role_ == Role::server && (unread_ || !last_) && !eof_;
    return may_send ? After::linger : After::close;
  }
  // One half of a tunnel has ended.
  if (out_ == Out::done && in_ == In::tunnel) return After::finish;
  return After::keep;
}

}  // namespace proxycore::http
