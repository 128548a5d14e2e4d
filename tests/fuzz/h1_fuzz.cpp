// h1: both roles of the HTTP/1.1 codec read arbitrary bytes, whole and in pieces.
//
// Input: role, what the other side does, how the bytes are cut; the rest goes into the codec.
// Claims: events come in a legal order and never carry more content than was declared; cutting
// changes nothing; a head that was read and is written again reads the same; every response that
// was sent whole is read by a client as what it was.

#include "http/framing.h"
#include "http/h1_codec.h"
#include "http/h1_write.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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

// What one message turned into, for comparison.
struct Seen {
  Head head;
  std::string content;
  std::string trailers;
  bool ended = false;
  bool reset = false;
};

std::string text_of(const Fields& fields, const Head* of = nullptr) {
  std::string text;
  for (const Fields::Field field : fields) {
    switch (field.id) {
      case FieldId::connection:
      case FieldId::content_length:
      case FieldId::keep_alive:
      case FieldId::proxy_connection:
      case FieldId::transfer_encoding:
        continue;
      case FieldId::host:
        if (of != nullptr && of->is_request()) continue;
        break;
      case FieldId::upgrade:
        if (of != nullptr && !of->upgrade && of->status != 426) continue;
        break;
      default:
        break;
    }
    text.append(field.name).append(": ").append(field.value).append("\n");
  }
  return text;
}

std::string taken(Chain& chain) {
  std::string all;
  while (!chain.empty()) {
    const Bytes piece = chain.front();
    all.append(piece.text());
    chain.consume(piece.size);
  }
  return all;
}

// Reads one message that is expected to be fine.
class Reader final : public Codec::Peer, public StreamEvents {
 public:
  StreamEvents& on_stream(Stream&) override { return *this; }
  void on_output() override {}
  void on_receive(bool) override {}
  void on_head(Head& head, End end) override {
    if (head.informational() && head.status != 101) return;
    seen.head = head;
    seen.ended = end == End::yes;
  }
  void on_body(Bytes part, End end) override {
    seen.content.append(part.text());
    seen.ended = seen.ended || end == End::yes;
  }
  void on_trailers(Fields& trailers) override {
    seen.trailers = text_of(trailers);
    seen.ended = true;
  }
  void on_sendable() override {}
  void on_reset(const Reset&) override { seen.reset = true; }

  Seen seen;
};

Seen read_request(const std::string& bytes) {
  Limits limits;
  limits.body_size = UINT64_MAX;
  base::Slabs slabs;
  H1Parsers parsers;
  Reader reader;
  H1Codec codec(Role::server, limits, slabs, parsers, reader);
  codec.feed(Bytes(bytes));
  return reader.seen;
}

Seen read_response(const std::string& bytes, const Head& request, bool eof) {
  const Limits limits;
  base::Slabs slabs;
  H1Parsers parsers;
  Reader reader;
  H1Codec codec(Role::client, limits, slabs, parsers, reader);
  codec.open(reader)->send_head(request, End::yes);
  codec.feed(Bytes(bytes));
  if (eof) codec.end_of_input();
  return reader.seen;
}

Head plain_request(std::string_view method) {
  Head head;
  head.method = method;
  head.target = "/";
  head.authority = "a";
  return head;
}

// A head that was read is written and read again.
void check_round_trip(const Head& head, bool to_head) {
  base::Slabs slabs;
  Chain chain(slabs);
  if (head.is_request()) {
    // Of HTTP/1.0 without Host we could not make a request.
    if (head.authority.empty()) return;
    append_head(chain, head, {framing::on_wire(head, Version::http11, false)});
    const Seen again = read_request(taken(chain));
    require(!again.reset, "a request head that was read is written well");
    require(again.head.method == head.method, "the method survives");
    require(again.head.target == head.target, "the target survives");
    require(again.head.authority == head.authority, "the authority survives");
    require(again.head.framing == head.framing, "the framing survives");
    require(again.head.content_length == head.content_length, "the length survives");
    require(again.head.upgrade == head.upgrade, "the upgrade survives");
    require(text_of(again.head.fields, &head) == text_of(head.fields, &head), "the fields survive");
    return;
  }
  if (head.informational()) return;
  const Framing wire = framing::on_wire(head, Version::http11, to_head);
  append_head(chain, head, {wire});
  const Seen again = read_response(taken(chain), plain_request(to_head ? "HEAD" : "GET"), false);
  require(!again.reset, "a response head that was read is written well");
  require(again.head.status == head.status, "the status survives");
  require(head.reason.empty() || again.head.reason == head.reason, "the reason survives");
  require(wire == Framing::none || again.head.framing == wire, "the framing survives");
  require(length_of(again.head) == length_of(head), "the length survives");
  require(text_of(again.head.fields, &head) == text_of(head.fields, &head), "the fields survive");
}

// The exchange above a codec, doing what the plan says and checking what it is told.
class Exchange final : public Codec::Peer, public StreamEvents {
 public:
  enum Plan : std::uint8_t {
    framings = 3,   // how the answer is delimited; or the method that is asked with
    interim = 4,    // 1xx first
    early = 8,      // answer as soon as the head is there
    pause = 16,     // receive off and on
    give_up = 32,   // reset after the head
    switching = 64  // answer upgrades with 101; ask for one
  };

  Exchange(Role role, std::uint8_t plan, const Limits& limits)
      : plan_(plan), role_(role), limits_(limits), codec_(role, limits, slabs_, parsers_, *this) {
    if (role == Role::client) ask();
  }

  void feed(std::string_view bytes) {
    codec_.feed(Bytes(bytes));
    go_on();
  }
  void finish() {
    codec_.end_of_input();
    go_on();
    require(state_ != State::content || codec_.after_output() != After::keep || tunnel_ ||
                role_ == Role::server,
            "no response is left open after the end of input");
  }
  [[nodiscard]] const std::string& log() const { return log_; }

  StreamEvents& on_stream(Stream& opened) override {
    require(role_ == Role::server, "an origin opens no stream");
    require(state_ == State::none, "one exchange at a time");
    stream_ = &opened;
    state_ = State::head;
    answered_ = false;
    slice_ = written_.size();
    return *this;
  }
  void on_output() override {}
  void on_receive(bool on) override { receiving_ = on; }

  void on_head(Head& head, End end) override {
    require(state_ == State::head, "a head comes first, and once");
    require(head.is_request() == (role_ == Role::server), "each role reads its kind");
    require(head.fields.size() <= limits_.header_count, "fields are bounded");
    const bool to_head = role_ == Role::client && request_.method == "HEAD";
    check_round_trip(head, to_head);
    log_ += head.method + head.target + head.authority + std::to_string(head.status) + head.reason +
            text_of(head.fields) + (end == End::yes ? "|" : "");
    if (head.informational() && head.status != 101) {
      require(end == End::no, "1xx does not end anything");
      return;
    }
    const bool none = head.framing == Framing::none ||
                      (!head.is_request() && framing::bodiless(head.status, to_head));
    tunnel_ = head.status == 101;
    require(tunnel_ || (end == End::yes) ==
                           (none || (head.framing == Framing::length && head.content_length == 0)),
            "a head without content ends");
    left_ = head.framing == Framing::length ? head.content_length : UINT64_MAX;
    chunked_ = head.framing == Framing::chunked;
    state_ = State::content;
    if (role_ == Role::server) request_ = head;
    if (end == End::yes) {
      ended();
    } else if (role_ == Role::server && (plan_ & early) != 0) {
      answer();
    }
    if ((plan_ & give_up) != 0 && stream_ != nullptr && state_ == State::content) {
      stream_->reset(Errc::cancelled);
      state_ = State::over;
      return;
    }
    if ((plan_ & pause) != 0 && state_ == State::content) stream_->receive(false);
  }

  void on_body(Bytes part, End end) override {
    require(state_ == State::content, "content follows a head");
    require(!part.empty() || end == End::yes, "an empty part ends");
    if (!tunnel_) {
      require(part.size <= left_, "no more content than declared");
      left_ -= part.size;
      total_ += part.size;
      require(role_ == Role::client || total_ <= limits_.body_size, "content is bounded");
    }
    log_.append(part.text());
    if (end == End::yes) {
      log_ += "|";
      require(tunnel_ || left_ == 0 || left_ > UINT64_MAX / 2, "no less content than declared");
      ended();
    } else if ((plan_ & pause) != 0) {
      stream_->receive(false);
    }
  }

  void on_trailers(Fields& trailers) override {
    require(state_ == State::content && chunked_, "trailers end chunked content");
    require(trailers.size() <= limits_.header_count, "trailers are bounded");
    log_ += "T" + text_of(trailers);
    ended();
  }

  void on_sendable() override {}

  void on_reset(const Reset& why) override {
    require(state_ == State::head || state_ == State::content, "a reset ends an open stream");
    log_ += "R" + std::to_string(why.status);
    state_ = State::over;
    if (role_ == Role::client || why.status == 0) return;
    require(!answered_, "what is answered cannot be answered again");
    Head head;
    head.status = why.status;
    stream_->send_head(head, End::yes);
    require(codec_.after_output() != After::keep, "an error closes");
  }

 private:
  enum class State { none, head, content, over };

  void ended() {
    if (tunnel_) {
      state_ = State::over;
      return;
    }
    total_ = 0;
    state_ = State::none;
    if (role_ == Role::client) {
      stream_ = nullptr;
      return;
    }
    if (!answered_) answer();
  }

  // The server's answer, all of it at once.
  void answer() {
    answered_ = true;
    if ((plan_ & interim) != 0) {
      Head hint;
      hint.status = 103;
      hint.fields.add("Link", "x");
      stream_->send_head(hint, End::no);
    }
    Head head;
    if (request_.upgrade && (plan_ & switching) != 0 && (plan_ & early) == 0) {
      head.status = 101;
      head.upgrade = true;
      stream_->send_head(head, End::no);
      state_ = State::content;
      tunnel_ = true;
      return;
    }
    static constexpr Framing kinds[] = {Framing::length, Framing::chunked, Framing::until_close,
                                        Framing::none};
    head.status = 200;
    head.framing = kinds[plan_ & framings];
    std::string content;
    if (head.framing != Framing::none) content = "answer";
    head.content_length = content.size();
    Fields trailers;
    trailers.add("X-Sum", "1");
    const bool http10 = request_.version == Version::http10;
    stream_->send_head(head, End::no);
    stream_->send_body(Bytes(content), End::no);
    if (head.framing == Framing::chunked) {
      stream_->send_trailers(trailers);
    } else {
      stream_->send_body({}, End::yes);
    }
    take_output();
    const Seen seen = read_response(
        written_.substr(slice_), plain_request(request_.method == "HEAD" ? "HEAD" : "GET"), http10);
    require(!seen.reset && seen.ended, "a whole response reads as one");
    require(seen.head.status == 200, "its status is ours");
    require(request_.method == "HEAD" ? seen.content.empty() : seen.content == content,
            "its content is ours");
  }

  void ask() {
    stream_ = codec_.open(*this);
    static constexpr std::string_view methods[] = {"GET", "HEAD", "POST", "PUT"};
    request_ = plain_request(methods[plan_ & framings]);
    request_.upgrade = (plan_ & switching) != 0;
    if (request_.upgrade) request_.fields.add("Upgrade", "x");
    const bool content = (plan_ & interim) != 0;
    if (content) request_.framing = Framing::chunked;
    state_ = State::head;
    stream_->send_head(request_, content ? End::no : End::yes);
    if (content) stream_->send_body(std::string_view{"content"}, End::yes);
    const std::string bytes = taken(codec_.output());
    const Seen seen = read_request(bytes);
    require(!seen.reset && seen.ended, "a request that was sent reads as one");
    require(seen.head.method == request_.method, "its method is ours");
    require(seen.content == (content ? "content" : ""), "its content is ours");
  }

  // As the connection would: write, wake, feed again, while anything moves.
  void go_on() {
    std::size_t before = 0;
    do {
      before = log_.size();
      take_output();
      codec_.written();
      if (stream_ != nullptr && state_ == State::content) stream_->receive(true);
      require(receiving_ || !codec_.idle(), "an idle connection reads");
      codec_.feed({});
    } while (log_.size() != before);
  }

  void take_output() { written_ += taken(codec_.output()); }

  std::uint8_t plan_;
  Role role_;
  const Limits& limits_;
  base::Slabs slabs_;
  H1Parsers parsers_;
  State state_ = State::none;
  Stream* stream_ = nullptr;
  Head request_;
  std::string log_;
  std::string written_;
  std::size_t slice_ = 0;  // where the output of this exchange begins
  std::uint64_t left_ = 0;
  std::uint64_t total_ = 0;
  bool chunked_ = false;
  bool tunnel_ = false;
  bool answered_ = false;
  bool receiving_ = true;
  H1Codec codec_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const Role role = (data[0] & 1) != 0 ? Role::client : Role::server;
  const std::uint8_t plan = data[1];
  std::uint32_t cut = data[2];
  const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);

  // Small, so that every limit is reached.
  Limits limits;
  limits.header_count = 10;
  limits.header_size = 512;
  limits.target_size = 64;
  limits.body_size = 1000;
  limits.high_water = 4096;
  limits.pipeline = 1024;

  Exchange whole(role, plan, limits);
  whole.feed(input);
  Exchange pieces(role, plan, limits);
  for (std::size_t at = 0; at < input.size();) {
    cut = cut * 1664525 + 1013904223;
    const std::size_t part = std::min<std::size_t>(1 + (cut >> 24) % 16, input.size() - at);
    pieces.feed(input.substr(at, part));
    at += part;
  }
  whole.finish();
  pieces.finish();
  require(whole.log() == pieces.log(), "cutting the input changes nothing");
  return 0;
}
