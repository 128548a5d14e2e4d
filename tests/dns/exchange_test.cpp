#include "dns/exchange.h"

#include "support/dns_server.h"

#include <stop_token>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using dns::Exchange;
using dns::Question;
using dns::Type;
using test::DnsServer;
using Over = DnsServer::Over;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

const Question question{"a.test", Type::txt};

std::string framed(const std::string& message) {
  std::string all;
  dns::append_u16(all, static_cast<std::uint16_t>(message.size()));
  return all + message;
}

std::string value_in(const Result<dns::Message>& answer) {
  REQUIRE_MESSAGE(answer, answer.error().message());
  REQUIRE(answer->answers.size() == 1);
  return answer->answers.front().data;
}

}  // namespace

TEST_CASE("dns exchange: one question, one answer") {
  DnsServer server;
  server.set("a.test", {"one"});
  Exchange exchange;
  CHECK(value_in(exchange.ask(server.address(), question, true, soon())) == "one");
  CHECK(server.asked() == 1);
}

TEST_CASE("dns exchange: an answer with another id or question is somebody's guess") {
  DnsServer server([](std::string_view query, Over) -> std::vector<std::string> {
    std::string other_id = test::txt_answer(query, 0, {"forged"});
    other_id[1] = static_cast<char>(other_id[1] ^ 1);
    std::string other_question = test::txt_answer(query, 0, {"forged"});
    other_question[13] = 'b';
    std::string a_query = test::txt_answer(query, 0, {"forged"});
    a_query[2] = 0;
    return {other_id, other_question, a_query, "rubbish", test::txt_answer(query, 0, {"one"})};
  });
  Exchange exchange;
  CHECK(value_in(exchange.ask(server.address(), question, true, soon())) == "one");
}

TEST_CASE("dns exchange: what does not fit into a datagram comes over TCP") {
  DnsServer server([](std::string_view query, Over over) -> std::vector<std::string> {
    if (over == Over::udp) return {test::txt_answer(query, 0x0200, {})};
    const std::string all = framed(test::txt_answer(query, 0, {"one"}));
    return {all.substr(0, 1), all.substr(1, 7), all.substr(8)};
  });
  Exchange exchange;
  CHECK(value_in(exchange.ask(server.address(), question, true, soon())) == "one");
}

TEST_CASE("dns exchange: an answer over TCP has to be one as well") {
  std::vector<std::string> parts;
  DnsServer server([&](std::string_view query, Over over) -> std::vector<std::string> {
    return {over == Over::udp ? test::txt_answer(query, 0x0200, {}) : parts.front()};
  });
  Exchange exchange;
  const auto code = [&](std::string said) {
    parts = {std::move(said)};
    return exchange.ask(server.address(), question, true, soon()).error().code;
  };
  CHECK(code("") == Errc::closed);
  CHECK(code(std::string("\x00", 1)) == Errc::closed);
  CHECK(code(std::string("\x00\x05xx", 4)) == Errc::closed);
  CHECK(code(framed("rubbish")) == Errc::protocol);
  CHECK(code(framed(test::txt_answer(*dns::make_query(1, {"b.test"}, true), 0, {}))) ==
        Errc::protocol);
}

TEST_CASE("dns exchange: a datagram that gets lost is sent again") {
  int asked = 0;
  DnsServer server([&](std::string_view query, Over) -> std::vector<std::string> {
    if (++asked == 1) return {};
    return {test::txt_answer(query, 0, {"one"})};
  });
  Exchange exchange;
  CHECK(value_in(exchange.ask(server.address(), question, true, soon())) == "one");
  CHECK(server.asked() == 2);
}

TEST_CASE("dns exchange: who is not there is told at once, who is silent at the deadline") {
  const test::Door nobody("127.0.0.1", test::Answer::refuses);
  Exchange exchange;
  const auto refused = exchange.ask(nobody.address, question, true, soon());
  CHECK(refused.error().code == Errc::refused);
  CHECK(refused.error().detail.find(nobody.address.text()) != std::string::npos);
  DnsServer silent([](std::string_view, Over) { return std::vector<std::string>{}; });
  CHECK(exchange.ask(silent.address(), question, true, Deadline::in(Millis{20})).error().code ==
        Errc::timeout);
  std::stop_source stop;
  DnsServer stops([&](std::string_view, Over) {
    stop.request_stop();
    return std::vector<std::string>{};
  });
  const auto cancelled =
      exchange.ask(stops.address(), question, true, Deadline::never(stop.get_token()));
  CHECK(cancelled.error().code == Errc::cancelled);
}

TEST_CASE("dns exchange: ids are not the same each time") {
  const std::uint16_t first = Exchange::random_id();
  bool differs = false;
  for (int i = 0; i < 16; ++i) differs = differs || Exchange::random_id() != first;
  CHECK(differs);
}
