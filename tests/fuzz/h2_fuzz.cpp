// h2: both roles of the HTTP/2 codec read arbitrary frames.
//
// Input: role, what the side above does, how the bytes are cut; then frames, each a byte for its
// kind, one for flags, one for the stream, one for the size, and a payload that is taken as it is
// or stands for one of some good header blocks; a kind of 255 lets the rest go in raw.
// Claims: events come in a legal order, and never carry more content than was declared or allowed;
// nothing follows the end of a stream; what waits is bounded; windows of the peer are kept; a
// connection that was ended stays so.

#include "http/h2_codec.h"
#include "http/h2_head.h"
#include "http/h2_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace proxycore;
using namespace proxycore::http;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

enum Plan : std::uint8_t {
  late = 1,      // answer when the request has ended, not with its head
  pause = 2,     // receive off after each part, on in a later turn
  give_up = 4,   // reset after the head
  trailing = 8,  // answer with trailers
  large = 16,    // answer with more than a window
  unread = 32,   // the peer takes little of what is written
  draining = 64,
};

// The exchange above one stream.
class Exchange final : public StreamEvents {
 public:
  Exchange(Role role, std::uint8_t plan, const Limits& limits)
      : role_(role), plan_(plan), limits_(limits) {}
  virtual ~Exchange() = default;

  void begin(Stream& stream) { stream_ = &stream; }
  void on_head(Head& head, End end) override {
    require(state_ == State::head, "a head comes first, and once");
    require(head.is_request() == (role_ == Role::server), "each role reads its kind");
    require(head.fields.size() <= limits_.header_count + 1, "fields are bounded");
    for (const Fields::Field field : head.fields) check(field);
    if (head.is_request()) {
      require(!head.authority.empty() && !head.target.empty(), "a request is for somebody");
      require(head.target.size() <= limits_.target_size || head.method == "CONNECT",
              "targets are bounded");
    }
    if (head.informational()) {
      require(end == End::no, "1xx does not end anything");
      return;
    }
    left_ = head.framing == Framing::length ? head.content_length : UINT64_MAX;
    state_ = State::content;
    if ((plan_ & give_up) != 0) {
      state_ = State::over;
      dead_ = true;
      stream_->reset(Errc::cancelled);
      return;
    }
    if (role_ == Role::server && (plan_ & late) == 0) answer();
    if (end == End::yes) ended();
  }
  void on_body(Bytes part, End end) override {
    require(state_ == State::content, "content follows a head");
    require(!part.empty() || end == End::yes, "an empty part ends");
    require(!paused_, "a stream that does not receive gets nothing");
    require(part.size <= left_, "no more content than declared");
    left_ -= part.size;
    total_ += part.size;
    require(role_ == Role::client || total_ <= limits_.body_size, "content is bounded");
    if (end == End::yes) {
      ended();
    } else if ((plan_ & pause) != 0) {
      paused_ = true;
      stream_->receive(false);
    }
  }
  void on_trailers(Fields& trailers) override {
    require(state_ == State::content && !paused_, "trailers end content");
    for (const Fields::Field field : trailers) check(field);
    ended();
  }
  void on_sendable() override {
    require(!dead_, "nothing follows a reset");
    if (sending_) pour();
  }
  void on_reset(const Reset& why) override {
    require(state_ == State::head || state_ == State::content || sending_ ||
                (role_ == Role::server && !answered_) || role_ == Role::client,
            "a reset ends an open stream");
    require(!dead_, "a stream ends once");
    dead_ = true;
    state_ = State::over;
    if (role_ == Role::client || why.status == 0) return;
    require(!answered_, "what is answered cannot be answered again");
    Head head;
    head.status = why.status;
    stream_->send_head(head, End::yes);
  }
  // A later turn.
  void wake() {
    if (dead_ || state_ != State::content || !paused_) return;
    paused_ = false;
    stream_->receive(true);
  }

 private:
  enum class State { head, content, over };

  static void check(const Fields::Field& field) {
    for (const char c : field.name) require(c > ' ' && c != ':' && (c < 'A' || c > 'Z'), "names");
    for (const char c : field.value) require(c != '\r' && c != '\n' && c != '\0', "values");
  }
  void ended() {
    require(left_ == 0 || left_ > UINT64_MAX / 2 || role_ == Role::client,
            "no less content than declared");
    const bool answers = role_ == Role::server && !answered_;
    state_ = answers ? State::content : State::over;
    if (answers) {
      answer();
      state_ = State::over;
    }
  }
  void answer() {
    answered_ = sending_ = true;
    Head head;
    head.status = 200;
    head.framing = Framing::chunked;
    head.fields.add("Server", "fuzz");
    stream_->send_head(head, End::no);
    unsent_ = (plan_ & large) != 0 ? 100'000 : 10;
    pour();
  }
  void pour() {
    static const std::string block(5000, 'x');
    while (unsent_ > 0) {
      const std::size_t part = std::min(unsent_, block.size());
      unsent_ -= part;
      if (unsent_ == 0) break;
      if (stream_->send_body(Bytes(block.data(), part), End::no) == Flow::full) return;
    }
    sending_ = false;
    Fields trailers;
    trailers.add("X-Sum", "1");
    if ((plan_ & trailing) != 0) {
      stream_->send_trailers(trailers);
    } else {
      stream_->send_body(Bytes(block.data(), 10), End::yes);
    }
  }

  Role role_;
  std::uint8_t plan_;
  const Limits& limits_;
  Stream* stream_ = nullptr;
  State state_ = State::head;
  std::uint64_t left_ = 0;
  std::uint64_t total_ = 0;
  std::size_t unsent_ = 0;
  bool answered_ = false;
  bool sending_ = false;
  bool paused_ = false;
  bool dead_ = false;
};

class Connection final : public Codec::Peer {
 public:
  Connection(Role role, std::uint8_t plan, const Limits& limits, const H2Limits& h2_limits)
      : role_(role),
        plan_(plan),
        limits_(limits),
        codec_(role, limits, h2_limits, memory_, *this) {}

  void feed(std::string_view bytes) {
    codec_.feed(Bytes(bytes));
    go_on();
  }
  void ask() {
    exchanges_.push_back(std::make_unique<Exchange>(role_, plan_, limits_));
    Stream* const stream = codec_.open(*exchanges_.back());
    if (stream == nullptr) {
      exchanges_.pop_back();
      return;
    }
    exchanges_.back()->begin(*stream);
    Head head;
    head.method = (plan_ & late) != 0 ? "HEAD" : "GET";
    head.target = "/";
    head.authority = "a";
    stream->send_head(head, End::yes);
  }
  void drain() { codec_.drain(); }
  void stall() { codec_.drop_stalled(); }
  void finish() {
    codec_.end_of_input();
    go_on();
    codec_.abort({Errc::closed, 0, "over"});
    require(codec_.output().empty(), "nothing is sent after the end");
  }

  StreamEvents& on_stream(Stream& opened) override {
    require(role_ == Role::server, "a server opens no stream");
    exchanges_.push_back(std::make_unique<Exchange>(role_, plan_, limits_));
    exchanges_.back()->begin(opened);
    return *exchanges_.back();
  }
  void on_output() override {}
  void on_receive(bool) override {}

 private:
  void go_on() {
    for (int turn = 0; turn < 3; ++turn) {
      take();
      codec_.written();
      for (const auto& exchange : exchanges_) exchange->wake();
      codec_.feed({});
    }
    require(slabs_.allocated() <= 64 << 20, "what waits is bounded");
    require(memory_.used() <= 4 << 20, "what nghttp2 holds is bounded");
    if (codec_.after_output() != After::keep) ended_ = true;
    require(!ended_ || codec_.after_output() != After::keep, "an ended connection stays so");
  }
  void take() {
    Chain& chain = codec_.output();
    std::size_t left = (plan_ & unread) != 0 ? 20 : SIZE_MAX;
    while (!chain.empty() && left > 0) {
      const std::size_t part = std::min(left, chain.front().size);
      chain.consume(part);
      left -= part;
    }
  }

  Role role_;
  std::uint8_t plan_;
  const Limits& limits_;
  base::Slabs slabs_;
  H2Counters counters_;
  H2Memory memory_{slabs_, counters_};
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  bool ended_ = false;
  H2Codec codec_;
};

std::string literal(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  out += static_cast<char>(name.size());
  out += name;
  out += static_cast<char>(value.size());
  return out.append(value);
}

// Some good header blocks.
std::string block_of(std::uint8_t which) {
  const std::string get = literal(":method", "GET") + literal(":scheme", "https") +
                          literal(":path", "/a") + literal(":authority", "a.test");
  const std::string post = literal(":method", "POST") + literal(":scheme", "https") +
                           literal(":path", "/a") + literal(":authority", "a.test");
  switch (which % 10) {
    case 0:
      return get;
    case 1:
      return post + literal("content-length", "5");
    case 2:
      return post;
    case 3:
      return literal("x-sum", "1");
    case 4:
      return literal(":status", "200");
    case 5:
      return literal(":status", "103") + literal("link", "x");
    case 6:
      return literal(":status", "200") + literal("content-length", "5");
    case 7:
      return get + literal("cookie", "a") + literal("cookie", "b") + literal("priority", "u=1");
    case 8:
      return literal(":method", "CONNECT") + literal(":authority", "a:1");
    default:
      return get + literal("x", std::string(100, 'y'));
  }
}

void append(std::string& out, std::size_t number, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(number >> (8 * i) & 0xff);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const Role role = (data[0] & 1) != 0 ? Role::client : Role::server;
  const std::uint8_t plan = data[1];
  std::uint32_t cut = data[2];
  std::string_view rest(reinterpret_cast<const char*>(data) + 3, size - 3);

  // Small, so that every limit is reached.
  Limits limits;
  limits.header_count = 10;
  limits.header_size = 512;
  limits.target_size = 64;
  limits.body_size = 100'000;
  limits.high_water = 16'384;
  H2Limits h2_limits;
  h2_limits.streams = 8;
  h2_limits.budget = 2000;
  h2_limits.refill = 0;
  h2_limits.queued_frames = 50;
  h2_limits.streams_in_drain = 3;

  std::string input = role == Role::server ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" : "";
  append(input, 0x000000040000, 6);
  append(input, 0, 3);
  while (rest.size() >= 4) {
    const auto kind = static_cast<std::uint8_t>(rest[0]);
    const auto flags = static_cast<std::uint8_t>(rest[1]);
    const auto stream = static_cast<std::uint8_t>(rest[2]);
    const auto length = static_cast<std::uint8_t>(rest[3]);
    rest.remove_prefix(4);
    if (kind == 255) break;
    std::string payload;
    if (kind >= 128 && (kind % 2) == 0) {
      payload = block_of(length);
      append(input, payload.size(), 3);
      append(input, 1, 1);
    } else if (kind >= 128) {
      payload.assign(std::size_t{length} * 64, 'z');
      append(input, payload.size(), 3);
      append(input, 0, 1);
    } else {
      payload = rest.substr(0, length);
      rest.remove_prefix(std::min<std::size_t>(length, rest.size()));
      append(input, payload.size(), 3);
      append(input, kind % 20, 1);
    }
    append(input, flags, 1);
    append(input, stream % 32, 4);
    input += payload;
  }
  input += rest;

  for (const bool whole : {true, false}) {
    Connection connection(role, plan, limits, h2_limits);
    if (role == Role::client) {
      connection.ask();
      connection.ask();
    }
    for (std::size_t at = 0; at < input.size();) {
      cut = cut * 1664525 + 1013904223;
      const std::size_t most = whole ? SIZE_MAX : 1 + (cut >> 24);
      const std::size_t part = std::min(most, input.size() - at);
      connection.feed(std::string_view{input}.substr(at, part));
      at += part;
      if (role == Role::client && (cut >> 20) % 4 == 0) connection.ask();
      if ((cut >> 16) % 8 == 0) connection.stall();
      if ((plan & draining) != 0 && (cut >> 12) % 8 == 0) connection.drain();
    }
    connection.finish();
  }
  return 0;
}
