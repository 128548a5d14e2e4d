#include "support/fake_ca.h"

#include "base/json.h"
#include "base/text.h"

#include <algorithm>

namespace proxycore::test {

using base::json::Value;
using base::json::Writer;

namespace {
// "what" of a target, and the number at its end.
struct Place {
  std::string what;
  std::size_t number = 0;
};

Place place_of(const std::string& target) {
  const std::size_t slash = target.find('/', 1);
  Place place{target.substr(1, slash == std::string::npos ? slash : slash - 1)};
  if (slash != std::string::npos) {
    place.number = base::parse_decimal(target.substr(slash + 1)).value_or(0);
  }
  return place;
}
}  // namespace

FakeCa::FakeCa(Script script)
    : script_(std::move(script)),
      server_(std::make_unique<HttpServer>([this](const Ask& ask) { return answer(ask); })) {}

std::string FakeCa::url(std::string_view target) const {
  return server_->url(target);
}

int FakeCa::count(const std::string& what) const {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(what);
  return found == counts_.end() ? 0 : found->second;
}

std::string FakeCa::payload(const std::string& what) const {
  const std::lock_guard lock(mutex_);
  const auto found = payloads_.find(what);
  return found == payloads_.end() ? std::string() : found->second;
}

std::vector<std::string> FakeCa::challenged() const {
  const std::lock_guard lock(mutex_);
  return challenged_;
}

std::string FakeCa::status(const std::string& target) const {
  const std::lock_guard lock(mutex_);
  return authz_.at(place_of(target).number).status;
}

Reply FakeCa::problem(int status, std::string_view type, std::string_view detail,
                      std::vector<std::pair<std::string, std::string>> headers) {
  Reply reply{status, {}, std::move(headers)};
  Writer(reply.body)
      .begin_object()
      .field("type", "urn:ietf:params:acme:error:" + std::string(type))
      .field("detail", detail)
      .end_object();
  reply.headers.emplace_back("Content-Type", "application/problem+json");
  return reply;
}

std::string FakeCa::fresh_nonce() {
  const std::string nonce = "nonce-" + std::to_string(next_nonce_++);
  nonces_.insert(nonce);
  return nonce;
}

Reply FakeCa::answer(const Ask& ask) {
  const std::lock_guard lock(mutex_);
  CaCall call{place_of(ask.path()).what, ask.path(), {}, {}};
  ++counts_[call.what];
  if (ask.method == "POST") {
    const auto jws = base::json::parse(ask.body);
    if (!jws || ask.header("Content-Type") != "application/jose+json") {
      return problem(400, "malformed");
    }
    call.header = base::parse_base64(jws->text("protected").value()).value();
    call.payload = base::parse_base64(jws->text("payload").value()).value();
    payloads_[call.what] = call.payload;
    const auto header = base::json::parse(call.header);
    const std::string nonce(header->text("nonce").value_or(std::string_view()));
    if (header->text("url").value() != server_->url(ask.path())) return problem(400, "malformed");
    if (nonces_.erase(nonce) == 0) {
      return problem(400, "badNonce", "unknown", {{"Replay-Nonce", fresh_nonce()}});
    }
  }
  auto scripted = script_(call);
  Reply reply = scripted ? *std::move(scripted) : act(call);
  if ((ask.method == "POST" || call.what == "nonce") && reply.raw.empty()) {
    reply.headers.emplace_back("Replay-Nonce", fresh_nonce());
  }
  return reply;
}

std::string FakeCa::order_json(std::size_t number) {
  Order& order = orders_.at(number);
  const auto is_valid = [this](std::size_t one) { return authz_.at(one).status == "valid"; };
  const auto is_over = [this](std::size_t one) {
    return authz_.at(one).status != "valid" && authz_.at(one).status != "pending";
  };
  if (order.status == "pending" && std::all_of(order.authz.begin(), order.authz.end(), is_valid)) {
    order.status = "ready";
  }
  if (order.status == "pending" && std::any_of(order.authz.begin(), order.authz.end(), is_over)) {
    order.status = "invalid";
  }
  if (order.status == "processing" && order.polls++ >= processing) order.status = "valid";
  std::string text;
  Writer writer(text);
  writer.begin_object().field("status", order.status).key("identifiers").begin_array();
  for (auto name = order.names.rbegin(); name != order.names.rend(); ++name) {
    writer.begin_object().field("type", "dns").field("value", *name).end_object();
  }
  writer.end_array().key("authorizations").begin_array();
  for (const std::size_t one : order.authz) writer.value(url("/authz/" + std::to_string(one)));
  writer.end_array().field("finalize", url("/finalize/" + std::to_string(number)));
  if (order.status == "valid") writer.field("certificate", url("/cert/" + std::to_string(number)));
  writer.end_object();
  return text;
}

std::string FakeCa::authz_json(std::size_t number) {
  const Authz& authz = authz_.at(number);
  const bool wildcard = authz.name.starts_with("*.");
  std::string text;
  Writer writer(text);
  writer.begin_object().field("status", authz.status).key("identifier").begin_object();
  writer.field("type", "dns").field("value", authz.name.substr(wildcard ? 2 : 0)).end_object();
  if (wildcard) writer.field("wildcard", true);
  writer.key("challenges").begin_array();
  for (const std::string type : {"dns-01", "tls-alpn-01", "http-01"}) {
    if (wildcard && type != "dns-01") continue;
    const std::string id = std::to_string(number) + "/" + type;
    writer.begin_object().field("type", type).field("url", url("/challenge/" + id));
    writer.field("token", "token-" + std::to_string(number) + "-" + type);
    const bool failed = authz.status == "invalid" && !challenge_error.empty();
    writer.field("status", failed ? "invalid" : authz.status == "valid" ? "valid" : "pending");
    if (failed) writer.key("error").raw(challenge_error);
    writer.end_object();
  }
  writer.end_array().end_object();
  return text;
}

Reply FakeCa::act(const CaCall& call) {
  const Place place = place_of(call.target);
  const auto sent = base::json::parse(call.payload.empty() ? "{}" : call.payload);
  if (call.what == "directory") {
    if (!directory_json.empty()) return {200, directory_json};
    std::string text;
    Writer writer(text);
    writer.begin_object();
    for (const auto& [name, target] : {std::pair{"newNonce", "/nonce"},
                                       {"newAccount", "/account"},
                                       {"newOrder", "/new-order"},
                                       {"revokeCert", "/revoke"},
                                       {"keyChange", "/key-change"},
                                       {"renewalInfo", "/renewal-info"}}) {
      writer.field(name, url(target));
    }
    writer.key("meta").begin_object().key("profiles").begin_object();
    writer.field("classic", "as always").field("shortlived", "six days");
    writer.end_object().end_object().end_object();
    return {200, text};
  }
  if (call.what == "nonce") return {200};
  if (call.what == "account") {
    return {201, R"({"status":"valid"})", {{"Location", url("/account/1")}}};
  }
  if (call.what == "new-order") {
    Order order;
    const auto identifiers = sent->array("identifiers");
    for (const Value& one : *identifiers) {
      order.names.emplace_back(one.text("value").value());
      order.authz.push_back(authz_.size());
      authz_.push_back({order.names.back()});
    }
    orders_.push_back(std::move(order));
    const std::size_t number = orders_.size() - 1;
    return {201, order_json(number), {{"Location", url("/order/" + std::to_string(number))}}};
  }
  if (call.what == "order" && place.number < orders_.size()) return {200, order_json(place.number)};
  if (call.what == "authz" && place.number < authz_.size()) {
    if (sent->find("status") != nullptr) authz_[place.number].status = "deactivated";
    return {200, authz_json(place.number)};
  }
  if (call.what == "challenge") {
    const std::string id = call.target.substr(std::string_view("/challenge/").size());
    const std::size_t number = std::stoul(id);
    challenged_.push_back(authz_.at(number).name + " " + id.substr(id.find('/') + 1));
    authz_.at(number).status = challenge_error.empty() ? "valid" : "invalid";
    return {200, "{}"};
  }
  if (call.what == "finalize") {
    Order& order = orders_.at(place.number);
    if (order.status != "ready") return problem(403, "orderNotReady");
    order.chain = intermediate.certify(
        base::parse_base64(sent->text("csr").value()).value(),
        {.dns = order.names, .not_before = -60, .not_after = lifetime_s, .key_ids = true});
    order.status = "processing";
    return {200, order_json(place.number)};
  }
  if (call.what == "cert") return {200, orders_.at(place.number).chain};
  if (call.what == "revoke" || call.what == "key-change") return {200, "{}"};
  return problem(404, "malformed", "no such thing");
}

}  // namespace proxycore::test
