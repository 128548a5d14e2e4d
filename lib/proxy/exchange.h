// Exchange: one request through the proxy and its response: the state machine.
//
// Two event sinks (client side, origin side) and one enum; enter() is the only writer of the state.
// Everything an exchange holds is given back in finish(), which is also where it is counted and
// logged. Exchanges are recycled by their worker, so a warm one allocates nothing.
// Source: RFC 9110 §7 (forwarding), §9.2.2 (retry). Thread: its worker's.
#pragma once

#include "base/list.h"
#include "http/codec.h"
#include "io/timers.h"
#include "lookup/lookup.h"
#include "origin/pool.h"
#include "proxy/local.h"
#include <proxycore/handler.h>
#include <proxycore/host.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace proxycore::proxy {

class ClientConnection;
class Worker;

struct ExchangeTag;

class Exchange final : public base::ListNode<ExchangeTag>, lookup::Waiter, origin::Waiter {
 public:
  explicit Exchange(Worker& worker);
  virtual ~Exchange() = default;

  // Starts over for a request that arrives on `client`.
  http::StreamEvents& begin(ClientConnection& connection, http::Stream& client);

  // A handler's answer, on our own thread: whole, or bit by bit.
  void on_local_response(Response&& response);
  void on_local_begin(Response&& head);
  void on_local_part(std::string&& part);
  void on_local_end();
  void on_local_overflow();

 private:
  enum class State : std::uint8_t {
    head,       // nothing known yet
    lookup,     // waiting for the route
    connect,    // waiting for a connection to a target
    streaming,  // request and response pass
    tunnel,     // both ways raw, after 101
    local,      // a Handler answers
    discard,    // answered; the rest of the request is thrown away
    done,
  };

  struct ClientSide final : http::StreamEvents {
    explicit ClientSide(Exchange& owner) : exchange(owner) {}
    virtual ~ClientSide() = default;
    void on_head(http::Head& head, http::End end) override { exchange.on_request(head, end); }
    void on_body(base::Bytes part, http::End end) override { exchange.on_request_body(part, end); }
    void on_trailers(http::Fields& trailers) override { exchange.on_request_trailers(trailers); }
    void on_sendable() override { exchange.on_client_sendable(); }
    void on_reset(const http::Reset& why) override { exchange.on_client_reset(why); }
    Exchange& exchange;
  };
  struct OriginSide final : http::StreamEvents {
    explicit OriginSide(Exchange& owner) : exchange(owner) {}
    virtual ~OriginSide() = default;
    void on_head(http::Head& head, http::End end) override { exchange.on_response(head, end); }
    void on_body(base::Bytes part, http::End end) override { exchange.on_response_body(part, end); }
    void on_trailers(http::Fields& trailers) override { exchange.on_response_trailers(trailers); }
    void on_sendable() override { exchange.on_origin_sendable(); }
    void on_reset(const http::Reset& why) override { exchange.on_origin_reset(why); }
    Exchange& exchange;
  };

  // In the order in which they happen.
  void on_request(http::Head& head, http::End end);
  void answer_locally(Handler& handler);
  void on_answer(lookup::Answer answer) override;  // lookup::Waiter
  void connect();
  void on_lease(Result<origin::Lease> lease) override;  // origin::Waiter
  void report_tls(const Error& why) const;
  void send_request();
  void on_request_body(base::Bytes part, http::End end);
  void on_request_trailers(http::Fields& trailers);
  void on_response(http::Head& head, http::End end);
  void on_response_body(base::Bytes part, http::End end);
  void on_response_trailers(http::Fields& trailers);
  void on_client_sendable();
  void on_origin_sendable();
  void on_client_reset(const http::Reset& why);
  void on_origin_reset(const http::Reset& why);
  void on_timeout();

  void enter(State next);
  void request_ended();
  void response_ended();
  void finish();
  void wait();  // arms the time-out of whatever is waited for now
  void reply(std::uint16_t status, std::string_view why);
  void take_head(const Response& response);
  void send_own(http::End end);
  void abort_client(Errc code, std::string_view why);
  void drop_origin();
  bool retry(std::string_view why, bool avoid_target);
  void refuse_response(std::string_view why);
  void answer_options();
  void redirect_to_tls(std::uint16_t port);
  [[nodiscard]] Millis or_default(Millis of_route, Millis otherwise) const;
  [[nodiscard]] bool tunnel_possible() const;
  [[nodiscard]] bool waits_for_content() const;

  friend class AccessLog;

  Worker& worker_;
  ClientConnection* connection_ = nullptr;
  http::Stream* client_ = nullptr;  // null once it is dead
  http::Stream* origin_ = nullptr;  // null while there is none, and once it is dead
  ClientSide client_side_;
  OriginSide origin_side_;
  State state_ = State::done;
  bool request_done_ = false;
  bool response_done_ = false;
  bool response_started_ = false;  // a final head was sent to the client
  bool body_passed_ = false;       // some of the request's content went to an origin
  bool client_full_ = false;       // the origin is paused until the client takes bytes
  bool origin_full_ = false;       // the client is paused until the origin takes bytes
  bool rewritten_ = false;         // the request's head has been through rewrite
  bool fresh_only_ = false;        // a kept connection broke: the retry takes a new one
  std::uint8_t attempts_ = 0;      // how often the request was sent
  std::uint8_t connect_failures_ = 0;
  std::uint8_t informational_ = 0;
  http::Head request_;
  http::Head response_;
  std::shared_ptr<const Route> route_;
  std::size_t target_ = origin::Balancer::none;
  origin::Lease lease_;
  io::Timer timer_;
  std::unique_ptr<LocalCall> local_;
  std::string host_;       // canonical, when it differs from the authority
  std::string_view name_;  // the host looked up: in host_ or in request_.authority
  std::string asked_;      // the authority the client named, when another one is sent
  std::string client_address_;
  std::array<char, 32> id_{};
  std::string_view id_text_;
  std::string kept_id_;       // the id a trusted proxy gave
  std::string page_;          // body of our own replies
  std::string_view problem_;  // why it went wrong, for the log; static text
  std::uint16_t status_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  std::uint64_t discarded_ = 0;
  std::int64_t began_ = 0;       // nanoseconds
  std::int64_t sent_ = 0;        // request handed to the origin
  std::int64_t first_byte_ = 0;  // response head came
};

}  // namespace proxycore::proxy
