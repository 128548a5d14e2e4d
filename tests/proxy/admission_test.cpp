#include "proxy/admission.h"

#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::proxy;

namespace {

io::Address ip(std::string_view text) {
  return *io::Address::parse(text, 1234);
}

// How often in a row `peer` gets that answer.
int in_a_row(Admission& admission, const io::Address& peer, Admitted answer) {
  int count = 0;
  while (count < 1000 && admission.enter(peer) == answer) ++count;
  return count;
}

}  // namespace

TEST_CASE("admission: zero is no bound") {
  Admission admission(0, 0);
  CHECK(in_a_row(admission, ip("192.0.2.1"), Admitted::yes) == 1000);
  CHECK(admission.open() == 1000);
}

TEST_CASE("admission: over the total, some are told so, the rest find the door closed") {
  Admission admission(32, 0);
  CHECK(in_a_row(admission, ip("192.0.2.1"), Admitted::yes) == 32);
  const int told = 1 + in_a_row(admission, ip("192.0.2.2"), Admitted::over_total);
  CHECK(told == 18);  // 32 / 16 + 16
  CHECK(admission.enter(ip("192.0.2.3")) == Admitted::no);
  CHECK(admission.open() == 32 + 18);
  // Who leaves makes room.
  for (int i = 0; i < 19; ++i) admission.leave(ip("192.0.2.1"));
  CHECK(admission.open() == 31);
  CHECK(admission.enter(ip("192.0.2.3")) == Admitted::yes);
}

TEST_CASE("admission: an address over its bound does not keep others out") {
  Admission admission(0, 4);
  CHECK(in_a_row(admission, ip("192.0.2.1"), Admitted::yes) == 4);
  CHECK(1 + in_a_row(admission, ip("192.0.2.1"), Admitted::over_address) == 16);
  CHECK(admission.enter(ip("192.0.2.1")) == Admitted::no);
  CHECK(admission.enter(ip("192.0.2.2")) == Admitted::yes);
}

TEST_CASE("admission: who is refused is not counted, anywhere") {
  Admission admission(0, 4);
  while (admission.enter(ip("192.0.2.1")) != Admitted::no) {
  }
  const std::uint32_t open = admission.open();
  for (int i = 0; i < 100; ++i) CHECK(admission.enter(ip("192.0.2.1")) == Admitted::no);
  CHECK(admission.open() == open);
  for (std::uint32_t i = 0; i < open; ++i) admission.leave(ip("192.0.2.1"));
  CHECK(admission.open() == 0);
  CHECK(in_a_row(admission, ip("192.0.2.1"), Admitted::yes) == 4);
}

TEST_CASE("admission: ports do not matter, and IPv4 is itself as IPv6") {
  Admission admission(0, 1);
  CHECK(admission.enter(*io::Address::parse("192.0.2.1", 1)) == Admitted::yes);
  CHECK(admission.enter(*io::Address::parse("192.0.2.1", 2)) == Admitted::over_address);
  CHECK(admission.enter(ip("::ffff:192.0.2.1")) == Admitted::over_address);
  CHECK(admission.enter(ip("2001:db8::1")) == Admitted::yes);
}

TEST_CASE("admission: clients of Unix sockets count in the total only") {
  Admission admission(20, 1);
  CHECK(in_a_row(admission, io::Address(), Admitted::yes) == 20);
  admission.leave(io::Address());
  admission.leave(io::Address());
  CHECK(admission.open() == 19);
}

TEST_CASE("admission: counts are exact under threads") {
  constexpr int threads = 4;
  constexpr int rounds = 20'000;
  Admission admission(0, 8);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, peer = ip(t % 2 == 0 ? "192.0.2.1" : "192.0.2.2")] {
      for (int i = 0; i < rounds; ++i) {
        if (admission.enter(peer) != Admitted::no) admission.leave(peer);
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  CHECK(admission.open() == 0);
  CHECK(in_a_row(admission, ip("192.0.2.1"), Admitted::yes) == 8);
}
