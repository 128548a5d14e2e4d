#include "client/http_client.h"

#include "base/text.h"
#include "tls/engine.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include <fmt/format.h>

namespace proxycore::client {

namespace {

constexpr std::size_t read_size = 16 << 10;
constexpr std::size_t high_water = 64 << 10;  // bytes that are encrypted ahead

Error refuse(std::string_view part, std::string_view expected) {
  return {Errc::invalid, fmt::format("request: {}: expected {}", part, expected)};
}

bool is_field_value(std::string_view text) {
  return text.find_first_of(std::string_view{"\r\n\0", 3}) == std::string_view::npos &&
         base::trim(text).size() == text.size();
}

// `proxy`: that takes the request itself; null: the target does.
Result<http::Head> head_of(const Request& request, const Url& url, std::string_view user_agent,
                           const Proxy* proxy) {
  if (!base::is_token(request.method) || request.method == "CONNECT") {
    return refuse("method", "a token that is not CONNECT");
  }
  http::Head head;
  head.method = request.method;
  head.target = url.target;
  head.authority = url.authority();
  if (!request.body.empty()) {
    head.framing = http::Framing::length;
    head.content_length = request.body.size();
  }
  for (const Header& header : request.headers) {
    if (!base::is_token(header.name)) return refuse("name of a header", "a token");
    if (!is_field_value(header.value)) {
      return refuse("header " + header.name, "one line without blanks around it");
    }
    head.fields.add(header.name, header.value);
  }
  if (!head.fields.has(http::FieldId::user_agent)) {
    head.fields.add(http::FieldId::user_agent, user_agent);
  }
  if (proxy != nullptr) {
    head.target = url.describe() + url.target;  // RFC 9112 §3.2.2
    if (!proxy->credentials.empty()) head.fields.add("Proxy-Authorization", proxy->credentials);
  }
  return head;
}

// RFC 9110 §9.2.2.
bool may_repeat(std::string_view method) {
  constexpr std::array<std::string_view, 5> idempotent = {"GET", "HEAD", "PUT", "DELETE",
                                                          "OPTIONS"};
  return std::find(idempotent.begin(), idempotent.end(), method) != idempotent.end();
}

Error broken(std::string_view doing, int code) {
  if (code == ECONNRESET || code == EPIPE) return {Errc::closed, "the connection was reset"};
  return {Errc::io, fmt::format("{}: {}", doing, std::strerror(code))};
}

}  // namespace

// One connection and the exchange on it. What fails on it ends it.
class HttpClient::Connection final : http::Codec::Peer, http::StreamEvents {
 public:
  Connection(HttpClient& client, Url to, io::Fd socket)
      : client_(client),
        to_(std::move(to)),
        socket_(std::move(socket)),
        ciphertext_(client.slabs_),
        codec_(http::Role::client, client.limits_, client.slabs_, client.parsers_, *this) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  // With a word of goodbye, if there is room for it now.
  virtual ~Connection() {
    if (!engine_ || ended_) return;
    engine_->close();
    flush();
  }

  Result<void> begin_tls(tls::ClientContext& context, const Deadline& by) {
    PX_TRY(engine_, tls::Engine::client(context, {.server_name = to_.host}, ciphertext_));
    auto done = take({});
    while (done && !engine_->open() && !ended_) done = turn(by);
    if (done && ended_) done = Error{Errc::closed, "the connection ended within the handshake"};
    if (!done) {
      flush();  // the alert
      if (done.error().code == Errc::timeout) return std::move(done).error().within("tls");
    }
    return done;
  }

  Result<Response> exchange(const http::Head& head, std::string_view body, const Deadline& by) {
    response_ = {};
    done_ = answered_ = false;
    http::Stream* const stream = codec_.open(*this);
    stream->send_head(head, body.empty() ? http::End::yes : http::End::no);
    if (!body.empty()) stream->send_body(body, http::End::yes);
    while (!done_) {
      PX_CHECK(turn(by));
      if (failure_) return *std::move(failure_);
    }
    return std::move(response_);
  }

  // What came meanwhile is read: a server may have said goodbye, or sent tickets.
  [[nodiscard]] bool still_good() {
    for (;;) {
      const auto read = read_some();
      if (!read || !reusable()) return false;
      if (!*read) return true;
    }
  }
  [[nodiscard]] bool reusable() {
    return codec_.reusable() && codec_.output().empty() && ciphertext_.empty() && !ended_;
  }
  // Whether something of the response to the last request has come.
  [[nodiscard]] bool answered() const noexcept { return answered_; }
  [[nodiscard]] bool leads_to(const Url& url) const {
    return to_.tls == url.tls && to_.host == url.host && to_.port == url.port;
  }
  Deadline::Clock::time_point last_used = {};

 private:
  // Writes and reads what is possible, after waiting until something is.
  Result<void> turn(const Deadline& by) {
    PX_CHECK(write_some());
    const bool unsent = !unheard_ && !wire().empty();
    const auto events = static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN);
    // A peer that never stops sending is no reason to go on for ever.
    if (by.passed()) return Error{Errc::timeout, "no answer in time"};
    PX_CHECK(client_.poll_.wait(socket_, events, by));
    if (auto read = read_some(); !read) return std::move(read).error();
    return {};
  }

  [[nodiscard]] base::Chain& wire() { return engine_ ? ciphertext_ : codec_.output(); }

  Result<void> write_some() {
    do {
      if (engine_ && engine_->open()) engine_->write(codec_.output(), high_water);
      if (engine_ && engine_->failed()) return engine_->error();
      flush();
    } while (engine_ && engine_->open() && ciphertext_.empty() && !codec_.output().empty());
    codec_.written();
    return {};
  }

  void flush() {
    base::Chain& out = wire();
    while (!unheard_ && !out.empty()) {
      std::array<iovec, 16> pieces;
      msghdr message{};
      message.msg_iov = pieces.data();
      message.msg_iovlen = out.peek(pieces.data(), pieces.size());
      const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
      if (count >= 0) {
        out.consume(static_cast<std::size_t>(count));
      } else if (errno == EAGAIN) {
        return;
      } else if (errno != EINTR) {
        // Who refuses a request early closes: the answer may be there to be read all the same.
        unheard_ = true;
      }
    }
  }

  // false: nothing is there now.
  Result<bool> read_some() {
    std::array<char, read_size> room;
    const ssize_t count = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count < 0) return broken("receive", errno);
    if (count == 0) {
      // Without close_notify nobody knows whether that was all (RFC 8446 §6.1).
      if (engine_ && !ended_ && !done_) return cut_off();
      ended_ = true;
      codec_.end_of_input();
      return true;
    }
    PX_CHECK(take({room.data(), static_cast<std::size_t>(count)}));
    return true;
  }

  Result<void> take(base::Bytes in) {
    if (!engine_) {
      answered_ = true;
      codec_.feed(in);
      return {};
    }
    for (;;) {
      switch (engine_->next(in)) {
        case tls::Engine::Event::wait:
          return {};
        case tls::Engine::Event::opened:
          break;
        case tls::Engine::Event::bytes:
          answered_ = true;
          codec_.feed(engine_->plaintext());
          break;
        case tls::Engine::Event::ended:
          ended_ = true;
          codec_.end_of_input();
          return {};
        case tls::Engine::Event::failed:
          return engine_->error();
      }
    }
  }

  static Error cut_off() { return {Errc::closed, "the connection ended without close_notify"}; }

  // http::Codec::Peer. A client's codec opens no streams; the others need no answer, as every turn
  // writes and reads.
  http::StreamEvents& on_stream(http::Stream&) override { return *this; }
  void on_output() override {}
  void on_receive(bool) override {}

  // http::StreamEvents.
  void on_head(http::Head& head, http::End end) override {
    if (head.informational()) return;
    response_.status = head.status;
    for (const auto field : head.fields) {
      response_.headers.push_back({std::string(field.name), std::string(field.value)});
    }
    done_ = end == http::End::yes;
    if (!done_ && head.framing == http::Framing::length && head.content_length > limit()) {
      too_large();
    }
  }
  void on_body(base::Bytes part, http::End end) override {
    if (failure_) return;
    if (part.size > limit() - response_.body.size()) {
      too_large();
      return;
    }
    response_.body.append(part.text());
    done_ = end == http::End::yes;
  }
  void on_trailers(http::Fields&) override { done_ = !failure_; }
  void on_sendable() override {}
  void on_reset(const http::Reset& why) override {
    if (!failure_) failure_ = Error{why.code, std::string(why.detail)};
  }

  [[nodiscard]] std::size_t limit() const { return client_.options_.response_limit; }
  void too_large() {
    failure_ = Error{Errc::limit, fmt::format("the response has over {} bytes", limit())};
  }

  HttpClient& client_;
  const Url to_;
  const io::Fd socket_;
  base::Chain ciphertext_;               // that waits to be sent
  std::unique_ptr<tls::Engine> engine_;  // null: plain
  http::H1Codec codec_;
  Response response_;
  std::optional<Error> failure_;
  bool done_ = true;       // the response is complete
  bool answered_ = false;  // a byte of the response came
  bool ended_ = false;     // the server sends nothing more
  bool unheard_ = false;   // the server takes nothing more
};

std::string_view Response::header(std::string_view name) const noexcept {
  for (const Header& one : headers) {
    if (base::same(one.name, name)) return one.value;
  }
  return {};
}

HttpClient::HttpClient() : HttpClient(Options{}) {}

HttpClient::HttpClient(Options options) : options_(std::move(options)) {
  if (options_.user_agent.empty()) options_.user_agent = "proxycore/" PROXYCORE_VERSION;
}

HttpClient::~HttpClient() = default;

Result<Response> HttpClient::send(const Request& request, const Deadline& by) {
  PX_TRY(const Url url, Url::parse(request.url));
  const Proxy* const proxy = options_.proxy && !url.tls ? &*options_.proxy : nullptr;
  PX_TRY(const http::Head head, head_of(request, url, options_.user_agent, proxy));
  // A request that went out would be carried out, whoever still waits for its response.
  if (by.cancelled()) return Error{Errc::cancelled, url.describe()};
  if (by.passed()) return Error{Errc::timeout, url.describe() + ": no time is left"};
  const auto attempt = [&](Connection& connection) -> Result<Response> {
    auto response = connection.exchange(head, request.body, by);
    if (response && response->status == 407 && proxy != nullptr) {
      return Error{Errc::denied,
                   fmt::format("the proxy {}: it wants other credentials (status 407)",
                               proxy->at.describe())};
    }
    return response;
  };
  auto connection = take_kept(url);
  if (connection) {
    auto response = attempt(*connection);
    const bool stale = !response && response.error().code == Errc::closed &&
                       !connection->answered() && may_repeat(request.method);
    if (!stale) {
      if (!response) return std::move(response).error().within(url.describe());
      keep(std::move(connection));
      return response;
    }
  }
  auto fresh = connect(url, by);
  if (!fresh) return std::move(fresh).error().within(url.describe());
  auto response = attempt(**fresh);
  if (!response) return std::move(response).error().within(url.describe());
  keep(*std::move(fresh));
  return response;
}

// The one that leads there and is still good, taken; null: there is none.
std::unique_ptr<HttpClient::Connection> HttpClient::take_kept(const Url& url) {
  const auto oldest = Deadline::Clock::now() - keep_for;
  std::erase_if(kept_, [&](const auto& one) { return one->last_used < oldest; });
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& one) { return one->leads_to(url); });
  if (found == kept_.end()) return nullptr;
  auto connection = std::move(*found);
  kept_.erase(found);
  return connection->still_good() ? std::move(connection) : nullptr;
}

Result<std::unique_ptr<HttpClient::Connection>> HttpClient::connect(const Url& url,
                                                                    const Deadline& by) {
  if (by.cancelled()) return Error{Errc::cancelled};
  if (by.passed()) return Error{Errc::timeout, "no time to connect"};
  tls::ClientContext* context = nullptr;
  if (url.tls) {
    PX_TRY(context, tls_context());
  }
  PX_TRY(io::Fd socket, socket_to(options_.proxy ? options_.proxy->at : url, by));
  if (options_.proxy && url.tls) {
    PX_CHECK(open_tunnel(socket, poll_, *options_.proxy, url, by));
  }
  auto connection = std::make_unique<Connection>(*this, url, std::move(socket));
  if (context != nullptr) PX_CHECK(connection->begin_tls(*context, by));
  return connection;
}

Result<io::Fd> HttpClient::socket_to(const Url& url, const Deadline& by) {
  std::string name = url.host;
  if (name.front() == '[') name = name.substr(1, name.size() - 2);
  const auto connected = [&]() -> Result<io::Fd> {
    PX_TRY(const auto addresses, io::resolve(name, url.port, by));
    return io::connect(addresses, poll_, by);
  };
  auto socket = connected();
  if (!socket && options_.proxy) {
    return std::move(socket).error().within("the proxy " + url.describe());
  }
  return socket;
}

Result<tls::ClientContext*> HttpClient::tls_context() {
  if (!tls_) {
    if (!options_.authorities) {
      PX_TRY(options_.authorities, tls::Authorities::system());
    }
    PX_TRY(tls_, tls::ClientContext::create({.authorities = options_.authorities}));
  }
  return tls_.get();
}

void HttpClient::keep(std::unique_ptr<Connection> connection) {
  if (!connection->reusable()) return;
  connection->last_used = Deadline::Clock::now();
  if (kept_.size() == max_kept) kept_.erase(kept_.begin());
  kept_.push_back(std::move(connection));
}

std::optional<std::uint32_t> retry_after(const Response& response, std::int64_t now_s) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  const std::string_view text = response.header("Retry-After");
  if (const auto seconds = base::parse_decimal(text)) {
    return static_cast<std::uint32_t>(std::min(*seconds, most));
  }
  const auto date = base::parse_http_date(text, now_s);
  if (!date) return std::nullopt;
  const auto left = static_cast<std::uint64_t>(std::max<std::int64_t>(*date - now_s, 0));
  return static_cast<std::uint32_t>(std::min(left, most));
}

}  // namespace proxycore::client
