#include "proxy/exchange.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "proxy/client_connection.h"
#include "proxy/edge.h"
#include "proxy/rewrite.h"
#include "proxy/worker.h"

#include <algorithm>
#include <string>
#include <utility>

namespace proxycore::proxy {

using http::End;
using http::FieldId;
using http::Flow;
using http::Framing;

namespace {

// How often a request is sent to a target, and how many targets are tried for a connection.
constexpr std::uint8_t max_attempts = 2;
constexpr std::uint8_t max_connects = 4;
// 1xx responses to one request; more is an origin that will never come to the point.
constexpr std::uint8_t max_informational = 16;
// Content that is still read after the answer, so that the connection can be used again.
constexpr std::uint64_t max_discarded = std::uint64_t{256} * 1024;
// HTTP/2: how long the rest of a request may still come after its response. Some clients wait to be
// told that it is of no use (RFC 9113 §8.1), and must have read the response by then.
constexpr Millis rest_of_request{250};
// How often a request may have passed a proxy of our name.
constexpr std::size_t max_passes = 8;
constexpr std::size_t max_kept_id = 128;

// RFC 9110 §9.2.2.
bool idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" ||
         method == "OPTIONS";
}

// The host part of a Host field or authority, without its port.
std::string_view without_port(std::string_view authority) {
  if (!authority.empty() && authority.front() == '[') {
    const std::size_t end = authority.find(']');
    return end == std::string_view::npos ? std::string_view{} : authority.substr(0, end + 1);
  }
  return authority.substr(0, authority.find(':'));
}

std::size_t passes(const http::Fields& fields, std::string_view name) {
  std::size_t count = 0;
  for (const http::Fields::Field field : fields) {
    if (field.id != FieldId::via) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::string_view member = base::next_member(rest);
      if (member.size() > name.size() && member.ends_with(name) &&
          member[member.size() - name.size() - 1] == ' ') {
        ++count;
      }
    }
  }
  return count;
}

}  // namespace

Exchange::Exchange(Worker& worker)
    : worker_(worker),
      client_side_(*this),
      origin_side_(*this),
      timer_(worker.loop().timers(), *this, [](Exchange& self) { self.on_timeout(); }) {}

http::StreamEvents& Exchange::begin(ClientConnection& connection, http::Stream& client) {
  connection_ = &connection;
  client_ = &client;
  state_ = State::head;
  request_done_ = response_done_ = response_started_ = body_passed_ = false;
  client_full_ = origin_full_ = rewritten_ = fresh_only_ = false;
  attempts_ = connect_failures_ = informational_ = 0;
  target_ = origin::Balancer::none;
  request_.clear();
  response_.clear();
  name_ = {};
  kept_id_.clear();
  asked_.clear();
  client_address_.clear();
  problem_ = {};
  status_ = 0;
  bytes_in_ = bytes_out_ = discarded_ = 0;
  began_ = worker_.loop().nanos();
  sent_ = first_byte_ = 0;
  id_text_ = worker_.next_id(id_);
  if (connection.handler() == nullptr) {
    worker_.counters().requests.add();
    worker_.counters().exchanges_open.add(1);
  }
  return client_side_;
}

void Exchange::enter(State next) {
  if (next == State::tunnel) worker_.counters().tunnels_open.add(1);
  if (state_ == State::tunnel) worker_.counters().tunnels_open.add(-1);
  state_ = next;
}

// --- the request comes in

void Exchange::on_request(http::Head& head, End end) {
  swap(request_, head);
  request_done_ = end == End::yes;
  const ClientInfo& client = connection_->info();
  client_address_ = rewrite::client_address(request_, client, worker_.trust());
  if (client.trusted) {
    const auto given = request_.fields.find(FieldId::x_request_id);
    const bool one = request_.fields.count(FieldId::x_request_id) == 1;
    if (one && given->size() <= max_kept_id && base::is_token(*given)) {
      kept_id_ = *given;
      id_text_ = kept_id_;
    }
  }
  name_ = HostName::normalize(without_port(request_.authority), host_);
  if (Handler* handler = connection_->handler()) return answer_locally(*handler);
  if (connection_->surplus()) return reply(503, "too many connections");

  // What only a forward proxy does, and what would tell our client about the hops behind us.
  if (request_.method == "CONNECT") {
    // What follows may be meant for the tunnel that will not be (RFC 9110 §9.3.6).
    connection_->close_after_response();
    return reply(501, "CONNECT is not served");
  }
  if (request_.method == "TRACE") return reply(405, "TRACE is not served");
  if (rewrite::is_last_hop(request_)) return answer_options();
  if (request_.fields.has(FieldId::via) &&
      passes(request_.fields, worker_.config().forwarding.via) >= max_passes) {
    return reply(508, "the request came round too often");
  }

  if (name_.empty()) return reply(400, "the Host field is no host name");
  // For any host, be it unknown or forcing TLS: the CA asks before there is a certificate.
  if (Handler* challenges = worker_.challenges();
      challenges != nullptr && request_.target.starts_with(edge::challenge_path)) {
    return answer_locally(*challenges);
  }
  // A connection made for one host may be used for others only if its certificate says so (RFC
  // 9110 §7.4, RFC 9113 §9.1.1).
  if (!connection_->covers(name_)) return reply(421, "the certificate shown is for other hosts");
  if (Handler* handler = worker_.mounted(name_)) return answer_locally(*handler);

  if (auto answer = worker_.lookup().find(name_, *this)) return on_answer(*std::move(answer));
  enter(State::lookup);
  if (!request_done_) client_->receive(false);
}

void Exchange::on_answer(lookup::Answer answer) {
  if (!answer) {
    worker_.counters().lookup_misses.add();
    return answer.error().code == Errc::not_found ? reply(404, "unknown host")
                                                  : reply(503, "the host could not be looked up");
  }
  worker_.counters().lookup_hits.add();
  route_ = *std::move(answer);
  const std::uint16_t tls_port = worker_.tls_port();
  if (route_->forcessl && tls_port != 0 && !rewrite::is_secure(request_, connection_->info())) {
    return redirect_to_tls(tls_port);
  }
  connect();
}

void Exchange::connect() {
  // A retry avoids the target that failed.
  origin::Pool::Choice choice = worker_.pool().acquire(*route_, target_, fresh_only_, *this);
  target_ = choice.target;
  const bool waits = !choice.lease.has_value();
  if (waits) {
    if (state_ != State::connect && state_ != State::lookup && !request_done_) {
      client_->receive(false);
    }
    enter(State::connect);
    timer_.cancel();  // the pool watches the time; that of a first try is over
    return;
  }
  on_lease(*std::move(choice.lease));
}

void Exchange::on_lease(Result<origin::Lease> lease) {
  if (!lease) {
    const Errc why = lease.error().code;
    if (why == Errc::limit) return reply(503, "too many connections to the target");
    worker_.pool().failed(*route_, target_);
    if (why == Errc::denied || why == Errc::protocol) report_tls(lease.error());
    // Nothing was sent: any other target may be asked.
    const std::size_t most = std::min<std::size_t>(route_->targets.size(), max_connects);
    if (++connect_failures_ < most) {
      worker_.counters().retries.add();
      return connect();
    }
    switch (why) {
      case Errc::timeout:
        return reply(504, "the target did not accept the connection in time");
      case Errc::denied:
        return reply(502, "the target's certificate is not valid");
      case Errc::protocol:
        return reply(502, "TLS with the target failed");
      default:
        return reply(502, "no connection to the target");
    }
  }
  lease_ = *std::move(lease);
  origin_ = lease_->codec().open(origin_side_);
  if (origin_ == nullptr) return reply(502, "the connection to the target takes no request");
  send_request();
}

// The details are for operators alone.
void Exchange::report_tls(const Error& why) const {
  static base::log::Throttle throttle;
  base::log::write(throttle, LogLevel::warning, "target.tls",
                   {{"host", route_->pattern},
                    {"target", route_->targets[target_].text()},
                    {"why", why.detail}});
}

void Exchange::send_request() {
  ++attempts_;
  if (!rewritten_) {
    rewrite::request(request_, connection_->info(), client_address_,
                     worker_.config().forwarding.via, id_text_);
    rewritten_ = true;
  }
  if (!route_->pass_host && asked_.empty()) asked_ = request_.authority;
  rewrite::point_at(request_, *route_, route_->targets[target_]);
  const bool was_waiting = state_ == State::connect || state_ == State::lookup;
  enter(State::streaming);
  sent_ = worker_.loop().nanos();
  origin_->send_head(request_, request_done_ ? End::yes : End::no);
  if (was_waiting && !request_done_) client_->receive(true);
  wait();
}

void Exchange::on_request_body(base::Bytes part, End end) {
  bytes_in_ += part.size;
  switch (state_) {
    case State::streaming:
    case State::tunnel:
      if (origin_ != nullptr) {
        body_passed_ = true;
        if (origin_->send_body(part, end) == Flow::full && end == End::no && !lease_->push()) {
          origin_full_ = true;
          client_->receive(false);
        }
      }
      break;
    case State::local:
      if (bytes_in_ > local_->handler.max_body()) return reply(413, "too much for the handler");
      local_->request.body.append(part.data, part.size);
      break;
    default:
      discarded_ += part.size;
      if (discarded_ > max_discarded && end == End::no) {
        return abort_client(Errc::limit, "more content after the answer than is worth reading");
      }
      break;
  }
  if (end == End::yes) return request_ended();
  wait();
}

void Exchange::on_request_trailers(http::Fields& trailers) {
  if (state_ == State::streaming && origin_ != nullptr) {
    body_passed_ = true;
    origin_->send_trailers(trailers);
  }
  request_ended();
}

void Exchange::request_ended() {
  request_done_ = true;
  if (state_ == State::local) {
    local_->handler.handle(std::move(local_->request),
                           Responder(sink_for(worker_.loop().inbox(), local_->ticket)));
    return;
  }
  if (response_done_) {
    origin_ = nullptr;  // complete both ways: the connection is kept
    return finish();
  }
  wait();
}

// --- the response comes back

void Exchange::on_response(http::Head& head, End end) {
  if (first_byte_ == 0) first_byte_ = worker_.loop().nanos();
  if (head.informational()) {
    if (head.status == 101) {
      if (!tunnel_possible()) return refuse_response("101 without upgrade");
      swap(response_, head);
      status_ = 101;
      rewrite::response(response_, id_text_, worker_.date());
      response_started_ = true;
      request_done_ = false;  // from here on both directions end on their own
      enter(State::tunnel);
      client_->send_head(response_, End::no);
      worker_.pool().succeeded(*route_, target_);
      wait();
      return;
    }
    if (++informational_ > max_informational) {
      return refuse_response("too many informational responses");
    }
    rewrite::interim(head);
    client_->send_head(head, End::no);  // the codec spares HTTP/1.0 clients
    wait();
    return;
  }
  swap(response_, head);
  status_ = response_.status;
  worker_.pool().succeeded(*route_, target_);
  rewrite::response(response_, id_text_, worker_.date());
  if (route_->hsts && rewrite::is_secure(request_, connection_->info())) {
    rewrite::strict_transport(response_);
  }
  response_started_ = true;
  client_->send_head(response_, end);
  if (end == End::yes) return response_ended();
  wait();
}

void Exchange::on_response_body(base::Bytes part, End end) {
  bytes_out_ += part.size;
  const bool full = client_->send_body(part, end) == Flow::full;
  if (full && end == End::no && !connection_->push(*client_) && origin_ != nullptr) {
    client_full_ = true;
    origin_->receive(false);
  }
  if (end == End::yes) return response_ended();
  wait();
}

void Exchange::on_response_trailers(http::Fields& trailers) {
  client_->send_trailers(trailers);
  response_ended();
}

void Exchange::response_ended() {
  response_done_ = true;
  if (request_done_) {
    origin_ = nullptr;  // complete both ways: the connection is kept
    return finish();
  }
  if (state_ == State::tunnel) return wait();
  // The origin answered early. If it goes on reading, the rest still goes there, which keeps both
  // connections in use; if it is about to close, the rest is thrown away.
  if (origin_ != nullptr && !lease_->codec().persistent()) {
    drop_origin();
    enter(State::discard);
    if (origin_full_) client_->receive(true);
    origin_full_ = false;
  }
  if (connection_->http2()) timer_.arm(rest_of_request);
  wait();
}

void Exchange::on_client_sendable() {
  if (!client_full_) return;
  client_full_ = false;
  if (origin_ != nullptr) origin_->receive(true);
  if (state_ == State::local) on_local_part(std::exchange(local_->held, {}));
  wait();
}

void Exchange::on_origin_sendable() {
  if (!origin_full_) return;
  origin_full_ = false;
  if (client_ != nullptr && !request_done_) client_->receive(true);
  wait();
}

// --- what goes wrong

void Exchange::on_client_reset(const http::Reset& why) {
  problem_ = why.detail;
  if (why.status != 0 && !response_started_) {
    request_done_ = true;  // nothing more comes
    return reply(why.status, why.detail);
  }
  client_ = nullptr;
  if (!response_done_ && status_ == 0) status_ = 499;
  if (why.code != Errc::timeout) worker_.counters().client_aborts.add();
  finish();
}

// An origin that does not keep to the protocol: as if its connection had broken.
void Exchange::refuse_response(std::string_view why) {
  origin_->reset(Errc::protocol);
  on_origin_reset({Errc::protocol, 0, why});
}

void Exchange::on_origin_reset(const http::Reset& why) {
  origin_ = nullptr;
  if (response_done_) {  // only the request was still going there
    drop_origin();
    enter(State::discard);
    if (origin_full_) client_->receive(true);
    origin_full_ = false;
    return wait();
  }
  const bool fresh = lease_ && !lease_->reused();
  drop_origin();
  if (state_ == State::tunnel || response_started_) {
    return abort_client(why.code, why.detail);
  }
  // A kept connection that the target closed meanwhile says nothing about the target.
  if (fresh) {
    worker_.pool().failed(*route_, target_);
    fresh_only_ = false;
  } else {
    fresh_only_ = true;
  }
  if (retry(why.detail, fresh)) return;
  reply(why.code == Errc::timeout ? 504 : 502, why.detail);
}

// RFC 9110 §9.2.2: once, if nothing came back, nothing of the content is lost, and doing it twice
// does no harm.
bool Exchange::retry(std::string_view why, bool avoid_target) {
  if (attempts_ >= max_attempts || body_passed_ || informational_ > 0) return false;
  if (!idempotent(request_.method)) return false;
  problem_ = why;
  worker_.counters().retries.add();
  first_byte_ = 0;
  if (!avoid_target) target_ = origin::Balancer::none;
  connect();
  return true;
}

// Whether it is the client's turn: the rest of its content is wanted.
bool Exchange::waits_for_content() const {
  if (request_done_ || client_full_) return false;
  if (state_ == State::discard || state_ == State::local) return true;
  return state_ == State::streaming && !origin_full_ && (!response_started_ || response_done_);
}

void Exchange::wait() {
  if (state_ == State::done || client_ == nullptr) return;
  if (response_done_ && connection_->http2()) return;  // for the rest of the request, not long
  const Config::Timeouts& limits = worker_.config().timeouts;
  if (waits_for_content()) {
    timer_.arm(limits.client_body);
    return;
  }
  switch (state_) {
    case State::streaming:
      if (client_full_) {
        timer_.cancel();  // the connection watches a client that takes nothing
      } else if (!response_started_) {
        timer_.arm(or_default(route_->first_byte_timeout, limits.origin_first_byte));
      } else {
        timer_.arm(or_default(route_->idle_timeout, limits.origin_idle));
      }
      return;
    case State::tunnel:
      timer_.arm(limits.tunnel_idle);
      return;
    case State::discard:
    case State::local:
      timer_.cancel();
      return;
    case State::head:
    case State::lookup:
    case State::connect:
    case State::done:
      return;
  }
}

void Exchange::on_timeout() {
  if (response_done_ && connection_->http2()) {
    return abort_client(Errc::closed, "the request went on after its response");
  }
  if (waits_for_content()) {
    if (response_started_) return abort_client(Errc::timeout, "the content did not come in time");
    return reply(408, "the request's content did not come in time");
  }
  if (response_started_) {
    drop_origin();
    return abort_client(Errc::timeout, state_ == State::tunnel ? "the tunnel was idle too long"
                                                               : "the target stopped sending");
  }
  worker_.pool().failed(*route_, target_);
  reply(504, "the target did not respond in time");
}

// Gives the connection to the target back; if its exchange is not complete, it closes.
void Exchange::drop_origin() {
  if (origin_ != nullptr) std::exchange(origin_, nullptr)->reset(Errc::cancelled);
  lease_.release();
}

void Exchange::abort_client(Errc code, std::string_view why) {
  problem_ = why;
  drop_origin();
  if (client_ != nullptr) std::exchange(client_, nullptr)->reset(code);
  finish();
}

// --- answers of our own

void Exchange::reply(std::uint16_t status, std::string_view why) {
  problem_ = why;
  status_ = status;
  Counters& counters = worker_.counters();
  switch (status) {
    case 400:
    case 501:
    case 505:
      counters.bad_requests.add();
      break;
    case 408:
      counters.client_timeouts.add();
      break;
    case 413:
      counters.over_body_limit.add();
      break;
    case 414:
      counters.over_target_limit.add();
      break;
    case 431:
      counters.over_head_limit.add();
      break;
    case 502:
      counters.origin_failures.add();
      break;
    case 503:
      counters.overloads.add();
      break;
    case 504:
      counters.origin_timeouts.add();
      break;
    default:
      break;
  }
  drop_origin();
  local_.reset();
  edge::error(request_, status, id_text_, worker_.date(), response_, page_);
  send_own(End::yes);
}

void Exchange::answer_locally(Handler& handler) {
  local_ = std::make_unique<LocalCall>(handler);
  local_->ticket->exchange = this;
  Request& request = local_->request;
  request.method = request_.method;
  request.target = request_.target;
  request.host = name_;
  for (const http::Fields::Field field : request_.fields) {
    request.fields.emplace_back(field.name, field.value);
  }
  request.client_address = client_address_;
  request.tls = connection_->info().tls;
  enter(State::local);
  if (request_.framing == Framing::length && request_.content_length > handler.max_body()) {
    return reply(413, "too much for the handler");
  }
  if (request_done_) return request_ended();
  if (base::same(request_.fields.find(FieldId::expect).value_or(""), "100-continue")) {
    response_.clear();
    response_.status = 100;
    client_->send_head(response_, End::no);
  }
  wait();
}

void Exchange::answer_options() {
  status_ = 204;
  edge::options(id_text_, worker_.date(), response_);
  page_.clear();
  send_own(End::yes);
}

void Exchange::redirect_to_tls(std::uint16_t port) {
  edge::to_tls(request_, name_, port, id_text_, worker_.date(), response_);
  status_ = response_.status;
  page_.clear();
  send_own(End::yes);
}

// The head of what a handler answers.
void Exchange::take_head(const Response& response) {
  response_.clear();
  response_.status = static_cast<std::uint16_t>(
      response.status >= 200 && response.status <= 599 ? response.status : 500);
  response_.reason = edge::reason(response_.status);
  for (const auto& [name, value] : response.fields) {
    const bool harmless = base::is_token(name) && value.find('\r') == std::string::npos &&
                          value.find('\n') == std::string::npos &&
                          value.find('\0') == std::string::npos;
    if (harmless) response_.fields.add(name, value);
  }
  rewrite::response(response_, id_text_, worker_.date());
  status_ = response_.status;
}

void Exchange::on_local_response(Response&& response) {
  if (state_ != State::local || response_started_) return;
  take_head(response);
  page_ = std::move(response.body);
  local_.reset();
  const bool bodiless = status_ == 204 || status_ == 304;
  response_.framing = bodiless ? Framing::none : Framing::length;
  response_.content_length = page_.size();
  if (bodiless || request_.method == "HEAD") page_.clear();
  send_own(End::yes);
}

void Exchange::on_local_begin(Response&& head) {
  if (state_ != State::local || response_started_) return;
  take_head(head);
  response_.framing = Framing::chunked;
  response_started_ = true;
  const bool bodiless = status_ == 204 || status_ == 304 || request_.method == "HEAD";
  client_->send_head(response_, bodiless ? End::yes : End::no);
  if (bodiless) {
    response_done_ = true;
    return finish();
  }
  if (!head.body.empty()) {
    local_->ticket->waiting += head.body.size();
    on_local_part(std::move(head.body));
  }
}

void Exchange::on_local_part(std::string&& part) {
  if (state_ != State::local || !response_started_ || part.empty()) return;
  if (client_full_) {
    local_->held += part;
    return;
  }
  local_->ticket->waiting -= part.size();
  bytes_out_ += part.size();
  client_full_ = client_->send_body(base::Bytes(part), End::no) == Flow::full;
}

void Exchange::on_local_end() {
  if (state_ != State::local || !response_started_) return;
  bytes_out_ += local_->held.size();
  client_->send_body(base::Bytes(local_->held), End::yes);
  response_done_ = true;
  finish();
}

void Exchange::on_local_overflow() {
  if (state_ == State::local)
    abort_client(Errc::limit, "the client does not take what it asked for");
}

// Sends response_ and page_; what is left of the request decides whether the connection lives on.
void Exchange::send_own(End end) {
  response_started_ = true;
  const bool whole = request_done_;
  if (!whole) connection_->close_after_response();
  client_->send_head(response_, page_.empty() ? end : End::no);
  if (!page_.empty()) {
    bytes_out_ += page_.size();
    client_->send_body(base::Bytes(page_), end);
  }
  response_done_ = true;
  if (!whole) std::exchange(client_, nullptr)->reset(Errc::closed);
  finish();
}

// --- the end

void Exchange::finish() {
  if (state_ == State::done) return;
  const bool was_tunnel = state_ == State::tunnel;
  drop_origin();
  enter(State::done);
  timer_.cancel();
  static_cast<lookup::Waiter&>(*this).unlink();
  static_cast<origin::Waiter&>(*this).unlink();
  local_.reset();

  Counters& counters = worker_.counters();
  if (connection_->handler() == nullptr) {
    counters.exchanges_open.add(-1);
    counters.bytes_in.add(bytes_in_);
    counters.bytes_out.add(bytes_out_);
    const std::int64_t now = worker_.loop().nanos();
    const std::size_t kind = status_class(status_);
    counters.responses[kind].add();
    if (!was_tunnel) counters.duration.observe((now - began_) / 1000);
    if (first_byte_ != 0) counters.origin_first_byte.observe((first_byte_ - sent_) / 1000);
    HostCounters& host = counters.per_host[route_ ? route_->stats_id : 0];
    host.responses[kind].add();
    host.bytes_in.add(bytes_in_);
    host.bytes_out.add(bytes_out_);
    worker_.access_log().record(*this);
  }
  route_.reset();
  client_ = nullptr;
  connection_->exchange_ended(*this);
}

Millis Exchange::or_default(Millis of_route, Millis otherwise) const {
  return of_route.count() > 0 ? of_route : otherwise;
}

bool Exchange::tunnel_possible() const {
  return request_.upgrade && request_done_;
}

}  // namespace proxycore::proxy
