#include "dns/tsig.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using dns::Message;
using dns::TsigKey;

namespace {

constexpr std::int64_t now = 1'790'000'000;
constexpr std::string_view secret = "c2VjcmV0LW9mLWEta2V5";  // "secret-of-a-key"

TsigKey key(std::string_view name = "k.test", std::string_view base64 = secret) {
  auto made = TsigKey::create(name, "hmac-sha256", base64);
  REQUIRE_MESSAGE(made, made.error().message());
  return *std::move(made);
}

std::string query() {
  return *dns::make_query(0x1234, {"a.test"}, true);
}

void append_u48(std::string& to, std::int64_t value) {
  dns::append_u16(to, static_cast<std::uint16_t>(value >> 32));
  dns::append_u32(to, static_cast<std::uint32_t>(value));
}

struct Answer {
  std::int64_t signed_s = now;
  std::uint16_t error = 0;
  std::string other = {};
  std::string key_name = "k.test";
  std::string mac_key = "secret-of-a-key";
};

// What a server would say, made as RFC 8945 §4.3, §5.3 have it, apart from our own code.
std::string answer_to(std::string_view request_mac, const Answer& how = {}) {
  std::string message = query();
  message[2] = static_cast<char>(0xA8);  // a response to an update
  const std::string name = *dns::wire_name(how.key_name);
  const std::string algorithm = *dns::wire_name("hmac-sha256");
  std::string digested;
  dns::append_u16(digested, static_cast<std::uint16_t>(request_mac.size()));
  digested.append(request_mac).append(message).append(name);
  dns::append_u16(digested, 255);
  dns::append_u32(digested, 0);
  digested.append(algorithm);
  append_u48(digested, how.signed_s);
  dns::append_u16(digested, 300);
  dns::append_u16(digested, how.error);
  dns::append_u16(digested, static_cast<std::uint16_t>(how.other.size()));
  digested.append(how.other);
  const std::string mac =
      how.mac_key.empty() ? "" : *tls::hmac(tls::Hash::sha256, how.mac_key, digested);

  std::string data = algorithm;
  append_u48(data, how.signed_s);
  dns::append_u16(data, 300);
  dns::append_u16(data, static_cast<std::uint16_t>(mac.size()));
  data.append(mac).append(message.substr(0, 2));
  dns::append_u16(data, how.error);
  dns::append_u16(data, static_cast<std::uint16_t>(how.other.size()));
  data.append(how.other);
  message[11] = 1;
  message.append(name);
  dns::append_u16(message, 250);
  dns::append_u16(message, 255);
  dns::append_u32(message, 0);
  dns::append_u16(message, static_cast<std::uint16_t>(data.size()));
  return message + data;
}

Result<void> verified(const TsigKey& by, const std::string& wire, std::string_view mac,
                      std::int64_t at = now) {
  const auto message = Message::parse(wire);
  REQUIRE_MESSAGE(message, message.error().message());
  return by.verify(wire, *message, mac, at);
}

}  // namespace

TEST_CASE("tsig: a signed message reads as it was, with the signature behind it") {
  const auto signed_query = key().sign(query(), now);
  REQUIRE(signed_query);
  const auto message = Message::parse(signed_query->wire);
  REQUIRE_MESSAGE(message, message.error().message());
  REQUIRE(message->signature.has_value());
  CHECK(message->questions.size() == 1);
  CHECK(message->signature->key_name == "k.test");
  CHECK(message->signature->algorithm == "hmac-sha256");
  CHECK(message->signature->signed_s == now);
  CHECK(message->signature->fudge == 300);
  CHECK(message->signature->original_id == 0x1234);
  CHECK(message->signature->mac == signed_query->mac);
  CHECK(signed_query->mac.size() == 32);
  // The name is the same key in any case, with or without a dot.
  CHECK(key("K.Test.").sign(query(), now)->mac == signed_query->mac);
  CHECK(key().sign(query(), now + 1)->mac != signed_query->mac);
}

TEST_CASE("tsig: an answer is verified, and anything changed in it is noticed") {
  const std::string mac = key().sign(query(), now)->mac;
  const std::string answer = answer_to(mac);
  CHECK(verified(key(), answer, mac));
  CHECK(verified(key(), answer, mac, now + 300));
  CHECK(verified(key(), answer, mac, now - 300));
  // The id may have been changed on the way (RFC 8945 §5.1).
  std::string forwarded = answer;
  forwarded[0] = 'x';
  CHECK(verified(key(), forwarded, mac));

  for (const std::size_t at : {std::size_t{3}, std::size_t{13}, answer.size() - 20}) {
    CAPTURE(at);
    std::string changed = answer;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    CHECK(verified(key(), changed, mac).error().code == Errc::denied);
  }
  CHECK(verified(key(), answer, "another request").error().code == Errc::denied);
  CHECK(verified(key("k.test", "b3RoZXI="), answer, mac).error().code == Errc::denied);
  CHECK(verified(key("l.test"), answer, mac).error().code == Errc::denied);
  CHECK(verified(key(), query(), mac).error().code == Errc::denied);  // not signed
  CHECK(verified(key(), answer_to(mac, {.mac_key = ""}), mac).error().code == Errc::denied);
}

TEST_CASE("tsig: times and clocks that differ are told as that") {
  const std::string mac = key().sign(query(), now)->mac;
  const auto late = verified(key(), answer_to(mac), mac, now + 301);
  CHECK(late.error().detail.find("clocks differ") != std::string::npos);
  const auto bad_time =
      verified(key(), answer_to(mac, {.error = 18, .other = std::string("\0\0\0\0\0\1", 6)}), mac);
  CHECK(bad_time.error().code == Errc::denied);
  CHECK(bad_time.error().detail.find("clock") != std::string::npos);
}

TEST_CASE("tsig: what a server has against our signature is told") {
  const std::string mac = key().sign(query(), now)->mac;
  const auto why = [&](std::uint16_t error) {
    const auto refused = verified(key(), answer_to(mac, {.error = error, .mac_key = ""}), mac);
    CHECK(refused.error().code == Errc::denied);
    return refused.error().detail;
  };
  CHECK(why(16).find("BADSIG") != std::string::npos);
  CHECK(why(17).find("BADKEY") != std::string::npos);
  CHECK(why(22).find("BADTRUNC") != std::string::npos);
  CHECK(why(99).find("99") != std::string::npos);
}

TEST_CASE("tsig: a key that cannot be one is refused without its secret") {
  const auto why = [](std::string_view name, std::string_view algorithm, std::string_view base64) {
    const auto key = TsigKey::create(name, algorithm, base64);
    REQUIRE_FALSE(key);
    CHECK(key.error().code == Errc::invalid);
    return key.error().detail;
  };
  CHECK(why("", "hmac-sha256", secret).find("name") != std::string::npos);
  CHECK(why("a..b", "hmac-sha256", secret).find("name") != std::string::npos);
  CHECK(why("k", "hmac-md5", secret).find("hmac-sha256") != std::string::npos);
  CHECK(why("k", "hmac-sha256", "").find("base64") != std::string::npos);
  const std::string wrong = why("k", "hmac-sha256", "not a secret!");
  CHECK(wrong.find("base64") != std::string::npos);
  CHECK(wrong.find("not a secret") == std::string::npos);
  for (const char* algorithm : {"hmac-sha1", "hmac-sha224", "HMAC-SHA384", "hmac-sha512"}) {
    CHECK(TsigKey::create("k", algorithm, secret));
  }
}
