#include "origin/connection.h"

#include "support/pool_rig.h"
#include "support/tls_target.h"

#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include <doctest/doctest.h>

using namespace proxycore;
using test::Door;
using test::Fd;
using test::PoolRig;
using test::PoolUser;
using test::run_turns;
using test::run_until;
using test::TlsTarget;

namespace {

// A rig with one target, and a user who has a connection to it.
struct Connected : PoolRig {
  Connected() {
    add_target(door);
    user.acquire_and_wait();
    far = door.accept();
  }
  // A request whose content is `size` bytes, which are still to come.
  http::Stream& begin_upload(std::uint64_t size) {
    user.request.clear();
    user.request.method = "POST";
    user.request.target = "/";
    user.request.authority = "a.test";
    user.request.framing = http::Framing::length;
    user.request.content_length = size;
    http::Stream& stream = user.open();
    stream.send_head(user.request, http::End::no);
    return stream;
  }

  Door door;
  PoolUser user{*this};
  Fd far;
};

}  // namespace

TEST_CASE_FIXTURE(Connected,
                  "connection: asks for more content though the kernel took all of it at once") {
  // It did so only after the kernel had refused some: an upload that always fitted stood still.
  const std::string part(300 << 10, 'x');
  const int parts = 20;
  std::string got;
  std::thread reader([&] {
    while (got.size() < part.size() * parts) got += far.receive();
  });
  http::Stream& stream = begin_upload(part.size() * parts);
  for (int i = 0; i < parts; ++i) {
    user.sendable = false;
    if (stream.send_body(std::string_view(part), i + 1 == parts ? http::End::yes : http::End::no) ==
            http::Flow::full &&
        i + 1 < parts) {
      run_until(loop, [&] { return user.sendable; });
    }
  }
  run_until(loop, [&] { return user.lease->codec().output().empty(); });
  reader.join();
  far.send("HTTP/1.1 204 No Content\r\n\r\n");
  run_until(loop, [&] { return user.done; });
  CHECK(counters.idle.value() == 1);
}

TEST_CASE_FIXTURE(Connected,
                  "connection: a response that breaks off is told as a reset, and ends it") {
  for (const bool by_reset : {false, true}) {
    if (!user.lease) {
      user.acquire_and_wait();
      far = door.accept();
    }
    user.get();
    request(far);
    far.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    by_reset ? far.abort() : far.close();
    run_until(loop, [&] { return user.reset.has_value(); });
    CHECK(user.body == "half");
    CHECK(user.reset == Errc::closed);
    run_turns(loop);
    CHECK(counters.open.value() == 0);
    user.reset.reset();
    user.body.clear();
  }
}

TEST_CASE_FIXTURE(
    Connected,
    "connection: a response that ends with it is whole after FIN, broken after a reset") {
  user.get();
  request(far);
  SUBCASE("FIN") {
    far.send("HTTP/1.1 200 OK\r\n\r\nall");
    far.close();
    run_until(loop, [&] { return user.done; });
    CHECK(user.body == "all");
  }
  SUBCASE("reset") {
    far.send("HTTP/1.1 200 OK\r\n\r\nnot al");
    far.abort();
    run_until(loop, [&] { return user.reset.has_value(); });
    CHECK_FALSE(user.done);
  }
}

TEST_CASE_FIXTURE(Connected,
                  "connection: an answer to half a request arrives, though the target resets") {
  const std::string part(100'000, 'x');
  http::Stream& stream = begin_upload(100'000'000);
  request(far);
  stream.send_body(std::string_view(part), http::End::no);
  run_turns(loop);
  far.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch");
  far.close();  // with content unread
  stream.send_body(std::string_view(part), http::End::no);
  run_until(loop, [&] { return user.done; });
  CHECK(user.status == 413);
  CHECK(user.body == "much");
  run_turns(loop);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(Connected,
                  "connection: is closed after a response that says so, or with bytes behind it") {
  for (const char* answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"}) {
    CAPTURE(answer);
    if (!user.lease) {
      user.acquire_and_wait();
      far = door.accept();
    }
    user.exchange(far, answer);
    CHECK(user.status == 200);
    run_until(loop, [&] { return counters.open.value() == 0; });
    CHECK(counters.idle.value() == 0);
  }
}

TEST_CASE_FIXTURE(Connected, "connection: given back before its response is complete, it closes") {
  user.get();
  request(far);
  far.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  run_until(loop, [&] { return user.body == "half"; });
  user.stream->reset(Errc::cancelled);
  user.lease.release();
  until_ended(far);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(Connected, "connection: given back with much unsent, it closes") {
  const std::string part(20 << 20, 'x');
  http::Stream& stream = begin_upload(100'000'000);
  stream.send_body(std::string_view(part), http::End::no);
  run_turns(loop);
  CHECK_FALSE(user.lease->codec().output().empty());
  stream.reset(Errc::cancelled);
  user.lease.release();
  run_turns(loop);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(Connected, "connection: a paused response holds up the target, and goes on") {
  const std::size_t size = 20 << 20;
  user.get();
  request(far);
  std::thread sender([&] {
    far.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
    far.send(std::string(size, 'x'));
  });
  run_until(loop, [&] { return !user.body.empty(); });
  user.stream->receive(false);
  run_turns(loop);
  const std::size_t before = user.body.size();
  run_turns(loop, 20);
  CHECK(user.body.size() == before);
  user.stream->receive(true);
  run_until(loop, [&] { return user.done; });
  sender.join();
  CHECK(user.body.size() == size);
  CHECK(counters.idle.value() == 1);
}

TEST_CASE_FIXTURE(Connected,
                  "connection: paused when its exchange ended, it still sees the target's FIN") {
  user.keep_at_end = true;
  user.get();
  request(far);
  far.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  run_until(loop, [&] { return user.body == "o"; });
  user.stream->receive(false);
  far.send("k");
  run_turns(loop);
  user.stream->receive(true);
  run_until(loop, [&] { return user.done; });
  user.lease.release();
  CHECK(counters.idle.value() == 1);
  far.close();
  run_until(loop, [&] { return counters.idle.value() == 0; });
}

TEST_CASE_FIXTURE(Connected, "connection: becomes a tunnel whose halves end by themselves") {
  user.request.method = "GET";
  user.request.target = "/";
  user.request.authority = "a.test";
  user.request.upgrade = true;
  user.request.fields.add("Upgrade", "echo");
  http::Stream& stream = user.open();
  stream.send_head(user.request, http::End::yes);
  CHECK(request(far).find("Upgrade: echo\r\n") != std::string::npos);
  far.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello");
  run_until(loop, [&] { return user.body == "hello"; });
  CHECK(user.status == 101);
  stream.send_body(std::string_view("and you"), http::End::no);
  std::string got;
  run_until(loop, [&] { return (got += far.receive_now()) == "and you"; });
  stream.send_body({}, http::End::yes);
  until_ended(far);
  CHECK_FALSE(user.done);
  far.send(" bye");
  far.close();
  run_until(loop, [&] { return user.done; });
  CHECK(user.body == "hello bye");
  run_turns(loop);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(Connected, "connection: carries one exchange at a time") {
  user.get();
  PoolUser other(*this);
  CHECK(user.lease->codec().open(other) == nullptr);
}

namespace {

// A user who has a connection over TLS, that is not verified, to a target on the same loop.
struct Secured : PoolRig {
  Secured() {
    add_target(target.at("127.0.0.1"));
    route.tls = std::make_shared<const TargetTls>(TargetTls{TargetVerify::no, ""});
    user.acquire_and_wait();
  }
  TlsTarget target{loop};
  PoolUser user{*this};
};

}  // namespace

TEST_CASE_FIXTURE(Secured, "connection: content passes both ways over TLS, with pauses") {
  const std::string content(3 << 20, 'u');
  target.answer =
      "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(content.size()) + "\r\n\r\n" + content;
  target.answers_after = "u!";
  user.request.clear();
  user.request.method = "POST";
  user.request.target = "/";
  user.request.authority = "a.test";
  user.request.framing = http::Framing::length;
  user.request.content_length = content.size() + 1;
  http::Stream& stream = user.open();
  stream.send_head(user.request, http::End::no);
  constexpr std::size_t part = 100 << 10;
  for (std::size_t at = 0; at < content.size(); at += part) {
    user.sendable = false;
    const auto flow =
        stream.send_body(base::Bytes(std::string_view(content).substr(at, part)), http::End::no);
    if (flow == http::Flow::full && !user.lease->push()) {
      run_until(loop, [&] { return user.sendable; });
    }
  }
  stream.send_body(base::Bytes(std::string_view("!")), http::End::yes);
  run_until(loop, [&] { return user.status == 200; });
  stream.receive(false);
  run_turns(loop, 20);
  const std::size_t paused = user.body.size();
  run_turns(loop, 20);
  CHECK(user.body.size() == paused);
  CHECK(paused < content.size());
  stream.receive(true);
  run_until(loop, [&] { return user.done; });
  CHECK(user.body == content);
  CHECK(target.visitors[0]->received.size() > content.size());
  CHECK(counters.idle.value() == 1);
}

TEST_CASE_FIXTURE(Secured,
                  "connection: content up to the end of TLS is whole, up to a cut is not") {
  target.answer = "HTTP/1.1 200 OK\r\n\r\nall of it";
  SUBCASE("close_notify") {
    target.ends = true;
    user.get();
    run_until(loop, [&] { return user.done; });
    CHECK(user.body == "all of it");
  }
  SUBCASE("none") {
    user.get();
    run_until(loop, [&] { return user.body == "all of it"; });
    target.visitors[0]->cut();
    target.visitors.clear();
    run_until(loop, [&] { return user.reset.has_value(); });
    CHECK_FALSE(user.done);
  }
  run_turns(loop);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(Secured,
                  "connection: an unused one that ends with or without close_notify dies") {
  user.get();
  run_until(loop, [&] { return user.done; });
  REQUIRE(counters.idle.value() == 1);
  target.visitors.clear();
  run_until(loop, [&] { return counters.open.value() == 0; });
}
