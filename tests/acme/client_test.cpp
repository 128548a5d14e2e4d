#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "support/authority.h"
#include "support/fake_ca.h"
#include "support/pebble.h"
#include "tls/digest.h"
#include "tls/issued.h"
#include "tls/keys.h"
#include "tls/signer.h"
#include <proxycore/acme.h>

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;
using test::CaCall;
using test::FakeCa;
using test::Pebble;
using test::Reply;

namespace {

Deadline soon() {
  return Deadline::in(Millis{30'000});
}

template <class Value>
Value good(Result<Value> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}
void good(const Result<void>& result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
}

Client client_of(const Pebble& pebble, const std::string& key = new_key().value()) {
  return good(Client::create(
      {.directory = pebble.directory(), .account_key = key, .ca_pem = pebble.ca_pem()}));
}
Client client_of(const FakeCa& ca) {
  return good(Client::create({.directory = ca.url(), .account_key = new_key().value()}));
}

const Registration agreed{.agree_tos = true};

// The scripted answer to one kind of call.
FakeCa::Script only(const std::string& what, Reply reply) {
  return [=](const CaCall& call) -> std::optional<Reply> {
    if (call.what != what) return std::nullopt;
    return reply;
  };
}

}  // namespace

TEST_CASE("acme client, pebble: an account is made, found, changed and given up (RFC 8555 §7.3)") {
  const Pebble pebble;
  const std::string key = new_key().value();
  Client client = client_of(pebble, key);
  const auto nobody = client.find_account(soon());
  REQUIRE_FALSE(nobody.has_value());
  CHECK(nobody.error().code == Errc::not_found);
  CHECK(client.problem().type == "accountDoesNotExist");

  const auto refused = client.register_account({}, soon());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().detail.find("terms of service: data:text/plain,Do%20what%20thou%20wilt") !=
        std::string::npos);

  const Account made = good(
      client.register_account({.contact = {"mailto:a@example.test"}, .agree_tos = true}, soon()));
  CHECK(client.problem().type.empty());
  CHECK(client.account_url() == made.url);
  CHECK(made.contact == std::vector<std::string>{"mailto:a@example.test"});

  // The same key has the same account, also for somebody who does not know it.
  Client other = client_of(pebble, key);
  CHECK(good(other.find_account(soon())).url == made.url);
  CHECK(good(other.register_account(agreed, soon())).url == made.url);

  const Account changed = good(client.update_contact({"mailto:b@example.test"}, soon()));
  CHECK(changed.contact == std::vector<std::string>{"mailto:b@example.test"});
  const auto bad = client.update_contact({"tel:+123"}, soon());
  REQUIRE_FALSE(bad.has_value());
  CHECK(bad.error().code == Errc::invalid);
  CHECK(client.problem().type == "unsupportedContact");

  // From now on the new key is the account's, and the old one nobody's.
  const std::string next = new_key().value();
  good(client.change_key(next, soon()));
  CHECK(good(client.update_contact({}, soon())).url == made.url);
  CHECK(good(client_of(pebble, next).find_account(soon())).url == made.url);
  CHECK(client_of(pebble, key).find_account(soon()).error().code == Errc::not_found);
  good(client.deactivate_account(soon()));
  const auto over = client.new_order({.names = {"a.test"}}, soon());
  REQUIRE_FALSE(over.has_value());
  CHECK(over.error().code == Errc::denied);
}

TEST_CASE("acme client: a key that has an account does not become another's (RFC 8555 §7.3.5)") {
  FakeCa ca(only("key-change", {409, {}, {{"Location", "http://ca.test/account/2"}}}));
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  CHECK(client.change_key(new_key().value(), soon()).error().code == Errc::conflict);
  CHECK(client.change_key("nonsense", soon()).error().code == Errc::invalid);
  CHECK(ca.count("key-change") == 1);
  good(client.new_order({.names = {"a.test"}}, soon()));  // with the old key, as before
}

TEST_CASE("acme client, pebble: keys of each kind have accounts (RFC 8555 §6.2)") {
  const Pebble pebble;
  for (const char* kind : {"P-384", "rsa:2048"}) {
    CAPTURE(kind);
    Client client = client_of(pebble, test::make_key(kind));
    good(client.register_account(agreed, soon()));
    good(client.new_order({.names = {"a.test"}}, soon()));
  }
}

TEST_CASE("acme client, pebble: an account is bound to an external one (RFC 8555 §7.3.4)") {
  const std::string mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
  const Pebble pebble({.mac_keys = {{"kid-1", mac_key}}});
  Client client = client_of(pebble);
  CHECK(good(client.directory(soon())).external_account_required);
  CHECK(client.register_account(agreed, soon()).error().code == Errc::denied);
  CHECK(client.problem().type == "externalAccountRequired");
  const auto wrong = client.register_account(
      {.agree_tos = true, .external = ExternalAccount{"kid-1", "d3JvbmcgbWFjIGtleQ"}}, soon());
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().code == Errc::denied);
  CHECK(wrong.error().detail.find("d3Jvbm") == std::string::npos);
  good(client.register_account({.agree_tos = true, .external = ExternalAccount{"kid-1", mac_key}},
                               soon()));
}

TEST_CASE("acme client, pebble: refused names are told with the CA's words") {
  const Pebble pebble({.blocked = {"blocked.test"}});
  Client client = client_of(pebble);
  good(client.register_account(agreed, soon()));
  const auto refused = client.new_order({.names = {"blocked.test"}}, soon());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::denied);
  CHECK(client.problem().type == "rejectedIdentifier");
  CHECK(refused.error().detail.starts_with("acme: new order: rejectedIdentifier: "));
  CHECK(refused.error().detail.find("blocked.test") != std::string::npos);
}

TEST_CASE("acme client: nonces are used once, and refused ones replaced (RFC 8555 §6.5)") {
  int refusals = 0;
  FakeCa ca([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "new-order" || ++refusals > 5) return std::nullopt;
    return FakeCa::problem(400, "badNonce");
  });
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  const Order order = good(client.new_order({.names = {"a.test"}}, soon()));
  CHECK(refusals == 6);
  CHECK(ca.count("nonce") == 1);  // each answer brings the next
  CHECK(client.problem().type.empty());
  good(client.order(order.url, soon()));
  CHECK(ca.count("nonce") == 1);
}

TEST_CASE("acme client: a CA that refuses all nonces is given up") {
  FakeCa ca(only("account", FakeCa::problem(400, "badNonce")));
  Client client = client_of(ca);
  const auto given_up = client.register_account(agreed, soon());
  REQUIRE_FALSE(given_up.has_value());
  CHECK(given_up.error().code == Errc::busy);
  CHECK(ca.count("account") == 200);
}

TEST_CASE("acme client: a nonce that is none is ignored (RFC 8555 §6.5.1)") {
  int calls = 0;
  FakeCa ca([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "nonce" || ++calls > 1) return std::nullopt;
    return Reply{.status = 200, .headers = {{"Replay-Nonce", "not a nonce"}}, .close = true};
  });
  Client client = client_of(ca);
  // The server's own comes behind the bad one, so the first is not enough.
  CHECK(client.register_account(agreed, soon()).error().code == Errc::protocol);
  good(client.register_account(agreed, soon()));
}

TEST_CASE("acme client: the CA's patience is obeyed, in seconds and as a date (RFC 8555 §6.6)") {
  const std::string date = base::http_date(static_cast<std::time_t>(base::now_s() + 3600));
  struct Case {
    int status;
    const char* type;
    std::string retry_after;
    std::uint32_t least;
    std::uint32_t most;
  };
  for (const Case& one :
       {Case{429, "rateLimited", "120", 120, 120}, Case{503, "serverInternal", "30", 30, 30},
        Case{503, "rateLimited", date, 3590, 3600}, Case{429, "rateLimited", "nonsense", 0, 0}}) {
    CAPTURE(one.retry_after);
    FakeCa ca(only("new-order", FakeCa::problem(one.status, one.type, "slow down",
                                                {{"Retry-After", one.retry_after}})));
    Client client = client_of(ca);
    good(client.register_account(agreed, soon()));
    const auto refused = client.new_order({.names = {"a.test"}}, soon());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::busy);
    CHECK(refused.error().retry_after_s >= one.least);
    CHECK(refused.error().retry_after_s <= one.most);
    CHECK(refused.error().detail == "acme: new order: " + std::string(one.type) + ": slow down");
    CHECK(client.problem().status == one.status);
    CHECK(ca.count("new-order") == 1);
  }
  FakeCa away(only("directory", {.status = 503, .headers = {{"Retry-After", "7"}}}));
  const auto refused = client_of(away).directory(soon());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::busy);
  CHECK(refused.error().retry_after_s == 7);
}

TEST_CASE("acme client: subproblems are shown, each with its name (RFC 8555 §6.7.1)") {
  FakeCa ca(
      only("new-order",
           {400,
            R"({"type":"urn:ietf:params:acme:error:compound","detail":"two names","subproblems":[
      {"type":"urn:ietf:params:acme:error:caa","detail":"forbids","identifier":{"type":"dns","value":"a.test"}},
      {"type":"urn:ietf:params:acme:error:rejectedIdentifier","identifier":{"type":"dns","value":"b.test"}}]})"}));
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  CHECK(client.new_order({.names = {"a.test", "b.test"}}, soon()).error().detail ==
        "acme: new order: compound: two names; a.test: caa: forbids; b.test: rejectedIdentifier");
  CHECK(client.problem().subproblems.size() == 2);
}

TEST_CASE("acme client: the directory is fetched once, not before it is needed (RFC 8555 §7.1.1)") {
  FakeCa ca;
  Client client = client_of(ca);
  CHECK(ca.count("directory") == 0);
  CHECK(good(client.directory(soon())).profiles.size() == 2);
  good(client.register_account(agreed, soon()));
  good(client.new_order({.names = {"a.test"}}, soon()));
  CHECK(ca.count("directory") == 1);
  // One that fails is fetched again.
  bool away = true;
  FakeCa shy([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "directory" || !away) return std::nullopt;
    return Reply{502, "<html>"};
  });
  Client patient = client_of(shy);
  CHECK(patient.directory(soon()).error().code == Errc::busy);
  away = false;
  good(patient.directory(soon()));
}

TEST_CASE("acme client: a directory of https has no way out of it") {
  const Pebble pebble;
  Client client = client_of(pebble);
  good(client.register_account(agreed, soon()));
  const auto refused = client.order("http://127.0.0.1:9/my-order/1", soon());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::protocol);
  // And another's certificate is not taken for the CA's.
  Client strange = good(Client::create({.directory = pebble.directory(),
                                        .account_key = new_key().value(),
                                        .ca_pem = test::Authority({}).pem()}));
  CHECK(strange.directory(soon()).error().code == Errc::refused);
}

TEST_CASE("acme client: profiles are the CA's, and asked for by name (draft-ietf-acme-profiles)") {
  FakeCa ca;
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  good(client.new_order({.names = {"a.test"}, .profile = "shortlived"}, soon()));
  CHECK(ca.payload("new-order").find(R"("profile":"shortlived")") != std::string::npos);
  const auto unknown = client.new_order({.names = {"a.test"}, .profile = "eternal"}, soon());
  REQUIRE_FALSE(unknown.has_value());
  CHECK(unknown.error().code == Errc::invalid);
  CHECK(unknown.error().detail.find("classic, shortlived") != std::string::npos);
  CHECK(ca.count("new-order") == 1);
}

TEST_CASE("acme client: an order for other names than asked for is refused (RFC 8555 §7.4)") {
  FakeCa ca([](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "new-order") return std::nullopt;
    return Reply{201,
                 R"({"status":"pending","identifiers":[{"type":"dns","value":"evil.test"}],
                     "authorizations":[],"finalize":"http://ca.test/f"})",
                 {{"Location", "http://ca.test/order/1"}}};
  });
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  CHECK(client.new_order({.names = {"a.test"}}, soon()).error().code == Errc::protocol);
}

TEST_CASE("acme client: polling keeps the pace that the CA asks for (RFC 8555 §7.5.1)") {
  FakeCa ca;
  ca.processing = 3;
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  Order order = good(client.new_order({.names = {"a.test"}}, soon()));
  const Authorization authorization =
      good(client.authorization(order.authorizations.at(0), soon()));
  good(client.respond(authorization.challenges.at(0), soon()));
  good(client.await(authorization, soon()));
  order = good(client.await(order, soon()));
  CHECK(order.status == Status::ready);
  const std::string csr = good(tls::make_csr({"a.test"}, new_key().value()));
  order = good(client.finalize(order, csr, soon()));
  CHECK(order.status == Status::processing);
  const int before = ca.count("order");
  order = good(client.await(order, soon()));
  CHECK(order.status == Status::valid);
  CHECK(ca.count("order") - before == 3);

  // Longer than there is time: told at once, so that it is gone on with later.
  FakeCa slow([](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "order") return std::nullopt;
    return Reply{200,
                 R"({"status":"processing","identifiers":[{"type":"dns","value":"a.test"}],
                     "authorizations":[],"finalize":"http://ca.test/f"})",
                 {{"Retry-After", "600"}}};
  });
  Client patient = client_of(slow);
  good(patient.register_account(agreed, soon()));
  const Order waiting = good(patient.order(slow.url("/order/0"), soon()));
  const auto later = patient.await(waiting, soon());
  REQUIRE_FALSE(later.has_value());
  CHECK(later.error().code == Errc::busy);
  CHECK(later.error().retry_after_s == 600);
}

TEST_CASE("acme client: waiting ends when it is cancelled") {
  std::stop_source stop;
  FakeCa ca([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "order") return std::nullopt;
    stop.request_stop();
    return Reply{200,
                 R"({"status":"processing","identifiers":[{"type":"dns","value":"a.test"}],
                     "authorizations":[],"finalize":"http://ca.test/f"})",
                 {{"Retry-After", "20"}}};
  });
  Client client = client_of(ca);
  good(client.register_account(agreed, soon()));
  Order order;
  order.url = ca.url("/order/0");
  const auto ended = client.await(order, Deadline::in(Millis{30'000}, stop.get_token()));
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == Errc::cancelled);
}

TEST_CASE("acme client: renewal information is asked for by the certificate (RFC 9773 §4)") {
  const std::string window =
      R"({"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-03T00:00:00Z"},
          "explanationURL":"https://ca.test/why"})";
  Reply reply{200, window, {{"Retry-After", "21600"}}};
  std::string asked;
  FakeCa ca([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "renewal-info") return std::nullopt;
    asked = call.target;
    CHECK(call.header.empty());  // nobody has to sign for it
    return reply;
  });
  Client client = client_of(ca);
  RenewalInfo info = good(client.renewal_info("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", soon()));
  CHECK(asked == "/renewal-info/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
  CHECK(info.end - info.start == 86'400);
  CHECK(info.retry_after_s == 21'600);
  CHECK(info.explanation_url == "https://ca.test/why");
  for (const auto& [said, kept] :
       {std::pair{"1", 60U}, {"1000000", 86'400U}, {"nonsense", 21'600U}}) {
    reply.headers = {{"Retry-After", said}};
    CHECK(good(client.renewal_info("x.y", soon())).retry_after_s == kept);
  }
  reply = FakeCa::problem(404, "malformed", "unknown certificate");
  CHECK(client.renewal_info("x.y", soon()).error().code == Errc::not_found);

  FakeCa old;
  old.directory_json = R"({"newNonce":")" + old.url("/nonce") + R"(","newAccount":")" +
                       old.url("/account") + R"(","newOrder":")" + old.url("/new-order") + "\"}";
  Client without = client_of(old);
  CHECK(without.renewal_info("x.y", soon()).error().code == Errc::not_found);
  // Nor is it told what an order replaces, which it would not understand.
  good(without.register_account(agreed, soon()));
  good(without.new_order({.names = {"a.test"}, .replaces = "x.y"}, soon()));
  CHECK(old.payload("new-order").find("replaces") == std::string::npos);
}

TEST_CASE("acme client: a certificate's id, and none without its authority's key (RFC 9773 §4.1)") {
  const test::Authority authority({.common_name = "CA", .key_ids = true});
  const auto with = renewal_id(authority.issue({.dns = {"a.test"}, .key_ids = true}).chain_pem);
  REQUIRE(with.has_value());
  CHECK(std::count(with->begin(), with->end(), '.') == 1);
  CHECK(renewal_id(authority.issue({.dns = {"a.test"}}).chain_pem).error().code == Errc::invalid);
  CHECK(renewal_id("nonsense").error().code == Errc::invalid);
}

TEST_CASE("acme client: what it is made of is checked") {
  const auto refused = [](Client::Options options) {
    const auto made = Client::create(std::move(options));
    return !made && made.error().code == Errc::invalid;
  };
  CHECK(refused({.directory = "ca.test/directory", .account_key = new_key().value()}));
  CHECK(refused({.directory = "https://ca.test/directory", .account_key = "nonsense"}));
  CHECK(refused({.directory = "https://ca.test/directory",
                 .account_key = new_key().value(),
                 .ca_pem = "nonsense"}));
}

TEST_CASE("acme client: it says who it is, and what people can read (RFC 8555 §6.1)") {
  std::string agent;
  std::string languages;
  test::HttpServer server([&](const test::Ask& ask) -> Reply {
    agent = ask.header("User-Agent");
    languages = ask.header("Accept-Language");
    return {503};
  });
  Client client = good(Client::create({.directory = server.url("/directory"),
                                       .account_key = new_key().value(),
                                       .user_agent = "tests/1 (+https://example.test/)",
                                       .languages = "de, en;q=0.5"}));
  CHECK(client.directory(soon()).error().code == Errc::busy);
  CHECK(agent == "tests/1 (+https://example.test/)");
  CHECK(languages == "de, en;q=0.5");
}

TEST_CASE("acme client: a directory that may not be kept is kept for a minute all the same") {
  std::string text;
  FakeCa strict([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "directory") return std::nullopt;
    return Reply{200, text, {{"Cache-Control", "public, max-age=0, no-cache"}}};
  });
  text = R"({"newNonce":")" + strict.url("/nonce") + R"(","newAccount":")" +
         strict.url("/account") + R"(","newOrder":")" + strict.url("/new-order") + "\"}";
  Client client = client_of(strict);
  good(client.register_account(agreed, soon()));
  good(client.new_order({.names = {"a.test"}}, soon()));
  CHECK(strict.count("directory") == 1);
}
