#include "dns/message.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using dns::Message;
using dns::Rcode;
using dns::Type;

namespace {

template <std::size_t size>
std::string bytes(const char (&text)[size]) {
  return {text, size - 1};
}

// A response with one question, "a.test" TXT, and these bytes behind it.
std::string answer(std::uint16_t answers, std::uint16_t authority, std::uint16_t additional,
                   const std::string& rest) {
  std::string wire = bytes("\x12\x34\x84\x00\x00\x01");
  dns::append_u16(wire, answers);
  dns::append_u16(wire, authority);
  dns::append_u16(wire, additional);
  return wire +
         bytes(
             "\x01"
             "a\x04"
             "test\x00\x00\x10\x00\x01") +
         rest;
}

}  // namespace

TEST_CASE("dns message: a query is what RFC 1035 §4.1 says") {
  const auto query = dns::make_query(0x1234, {"A.test", Type::txt}, true);
  REQUIRE(query);
  CHECK(*query == bytes("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                        "\x01"
                        "a\x04"
                        "test\x00\x00\x10\x00\x01"));
  const auto read = Message::parse(*query);
  REQUIRE(read);
  CHECK_FALSE(read->response);
  CHECK(read->questions.front() == dns::Question{"a.test", Type::txt});
  CHECK((*dns::make_query(0, {"", Type::ns}, false))[2] == 0);
}

TEST_CASE("dns message: answers are read, with names that point back") {
  const auto message = Message::parse(answer(
      2, 1, 1,
      bytes("\xC0\x0C\x00\x05\x00\x01\x00\x00\x00\x3C\x00\x04\x01"
            "B\xC0\x0E"
            "\x01"
            "b\xC0\x0E\x00\x10\x00\x01\x00\x00\x00\x3C\x00\x07\x03"
            "one\x02"
            "tw"
            "\xC0\x0E\x00\x06\x00\x01\x00\x00\x00\x3C\x00\x1A\x02"
            "ns\xC0\x0E\xC0\x0E"
            "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x05"
            "\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x00")));
  REQUIRE_FALSE(message);  // the SOA is one byte shorter than it says
  const auto good = Message::parse(answer(
      2, 1, 1,
      bytes("\xC0\x0C\x00\x05\x00\x01\x00\x00\x00\x3C\x00\x04\x01"
            "B\xC0\x0E"
            "\x01"
            "b\xC0\x0E\x00\x10\x00\x01\x00\x00\x00\x3C\x00\x07\x03"
            "one\x02"
            "tw"
            "\xC0\x0E\x00\x06\x00\x01\x00\x00\x00\x3C\x00\x1B\x02"
            "ns\xC0\x0E\xC0\x0E"
            "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x05"
            "\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x00")));
  REQUIRE_MESSAGE(good, good.error().message());
  CHECK(good->id == 0x1234);
  CHECK(good->response);
  CHECK(good->authoritative);
  CHECK(good->rcode == Rcode::ok);
  REQUIRE(good->answers.size() == 2);
  CHECK(good->answers[0].name == "a.test");
  CHECK(good->answers[0].type == Type::cname);
  CHECK(good->answers[0].data == "b.test");
  CHECK(good->answers[0].ttl == 60);
  CHECK(good->answers[1].name == "b.test");
  CHECK(good->answers[1].data == "onetw");
  REQUIRE(good->authority.size() == 1);
  CHECK(good->authority[0].data == "ns.test");
  CHECK(good->additional.size() == 1);
  CHECK_FALSE(good->signature.has_value());
}

TEST_CASE("dns message: one that is cut anywhere is malformed, and so is one that goes on") {
  const std::string whole =
      answer(1, 0, 1,
             bytes("\xC0\x0C\x00\x10\x00\x01\x00\x00\x00\x3C\x00\x04\x03"
                   "one"
                   "\x01"
                   "k\x00\x00\xFA\x00\xFF\x00\x00\x00\x00\x00\x1D\x0B"
                   "hmac-sha256\x00"
                   "\x00\x00\x00\x00\x00\x01\x01\x2C\x00\x00\x12\x34\x00\x00\x00\x00"));
  const auto read = Message::parse(whole);
  REQUIRE_MESSAGE(read, read.error().message());
  REQUIRE(read->signature.has_value());
  CHECK(read->signature->key_name == "k");
  CHECK(read->signature->algorithm == "hmac-sha256");
  CHECK(read->signature->signed_s == 1);
  CHECK(read->signature->fudge == 300);
  CHECK(read->signature->original_id == 0x1234);
  CHECK(read->additional.empty());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const auto part = Message::parse(std::string_view(whole).substr(0, size));
    REQUIRE_FALSE(part);
    CHECK(part.error().code == Errc::protocol);
  }
  CHECK_FALSE(Message::parse(whole + "x"));
}

TEST_CASE("dns message: names cannot lead in circles, nor forwards, nor grow without bound") {
  const auto record = [](const std::string& name) {
    return answer(1, 0, 0, name + bytes("\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00"));
  };
  CHECK(Message::parse(record(bytes("\xC0\x0C"))));
  const std::size_t here = answer(1, 0, 0, "").size();
  const auto pointer = [](std::size_t to) {
    return std::string{static_cast<char>(0xC0U | to >> 8U), static_cast<char>(to)};
  };
  CHECK_FALSE(Message::parse(record(pointer(here))));            // itself
  CHECK_FALSE(Message::parse(record("\x01x" + pointer(here))));  // its own beginning
  CHECK_FALSE(Message::parse(record(pointer(here + 2))));        // forwards
  CHECK_FALSE(Message::parse(record(bytes("\x40x"))));           // an unknown kind of label
  std::string large;
  for (int i = 0; i < 8; ++i) large += "\x1F" + std::string(31, 'x');
  CHECK_FALSE(Message::parse(record(large + '\0')));  // 257 bytes
  large.resize(7 * 32);
  CHECK(Message::parse(record(large + "\x1D" + std::string(29, 'x') + '\0')));        // 255
  CHECK_FALSE(Message::parse(record(large + "\x1E" + std::string(30, 'x') + '\0')));  // 256
}

TEST_CASE("dns message: odd bytes in names are escaped, letters are small") {
  const auto message =
      Message::parse(answer(1, 0, 0,
                            bytes("\x06"
                                  "A.\\ \x00\xFF\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00")));
  REQUIRE(message);
  CHECK(message->answers.front().name == "a\\046\\092\\032\\000\\255");
}

TEST_CASE("dns message: of a truncated one the question is all that counts") {
  std::string wire = answer(5, 0, 0, "rubbish");
  wire[2] = static_cast<char>(0x86);
  const auto message = Message::parse(wire);
  REQUIRE(message);
  CHECK(message->truncated);
  CHECK(message->answers.empty());
  CHECK(message->questions.size() == 1);
}

TEST_CASE("dns message: signatures stand last and once") {
  const std::string signature = bytes(
      "\x01"
      "k\x00\x00\xFA\x00\xFF\x00\x00\x00\x00\x00\x1D\x0B"
      "hmac-sha256\x00"
      "\x00\x00\x00\x00\x00\x01\x01\x2C\x00\x00\x12\x34\x00\x00\x00\x00");
  CHECK(Message::parse(answer(0, 0, 1, signature)));
  CHECK_FALSE(Message::parse(answer(0, 0, 2, signature + signature)));
  CHECK_FALSE(Message::parse(answer(1, 0, 0, signature)));
  CHECK_FALSE(Message::parse(
      answer(0, 0, 2, signature + bytes("\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00"))));
}

TEST_CASE("dns message: an update is what RFC 2136 §2 says") {
  using What = dns::Change::What;
  const auto update =
      dns::make_update(0x1234, "a.test",
                       {{What::add, "b.a.test", "one", 60}, {What::remove, "b.a.test", "one", 60}});
  REQUIRE(update);
  CHECK(*update == bytes("\x12\x34\x28\x00\x00\x01\x00\x00\x00\x02\x00\x00"
                         "\x01"
                         "a\x04"
                         "test\x00\x00\x06\x00\x01"
                         "\x01"
                         "b\x01"
                         "a\x04"
                         "test\x00\x00\x10\x00\x01\x00\x00\x00\x3C\x00\x04\x03"
                         "one"
                         "\x01"
                         "b\x01"
                         "a\x04"
                         "test\x00\x00\x10\x00\xFE\x00\x00\x00\x00\x00\x04\x03"
                         "one"));
  const auto large = dns::make_update(1, "a.test", {{What::add, "a.test", std::string(300, 'x')}});
  REQUIRE(large);
  const auto read = Message::parse(*large);
  REQUIRE(read);
  CHECK(read->opcode == 5);
  CHECK(read->authority.front().data == std::string(300, 'x'));
  CHECK_FALSE(dns::make_update(1, "a.test", {{What::add, "a.test", std::string(70'000, 'x')}}));
}

TEST_CASE("dns message: what is no name is not asked for") {
  CHECK(dns::wire_name("")->size() == 1);
  CHECK(*dns::wire_name("_a.*.test") == bytes("\x02_a\x01*\x04test\x00"));
  for (const std::string& name :
       {std::string("a..test"), std::string(".test"), std::string("a."), std::string("a b"),
        std::string("\\046.test"), std::string("\xC3\xA4.test"), std::string(64, 'a'),
        std::string(130, 'a').insert(60, ".").insert(121, ".") + "." + std::string(63, 'b') + "." +
            std::string(63, 'c')}) {
    CAPTURE(name);
    CHECK(dns::wire_name(name).error().code == Errc::invalid);
  }
  CHECK(dns::parent_of("a.b.test") == "b.test");
  CHECK(dns::parent_of("test").empty());
  CHECK(dns::is_within("a.test", "a.test"));
  CHECK(dns::is_within("b.a.test", "a.test"));
  CHECK(dns::is_within("b.a.test", ""));
  CHECK_FALSE(dns::is_within("ba.test", "a.test"));
  CHECK(dns::name_of(Rcode::refused) == "REFUSED");
  CHECK(dns::name_of(static_cast<Rcode>(11)) == "RCODE 11");
}
