// What holds for every Transport, for sockets and for the memory pair that stands in for them.
#include "io/transport.h"

#include "io/socket.h"
#include "support/memory_transport.h"
#include "support/sockets.h"
#include "support/turns.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using base::Bytes;
using base::Chain;
using io::Loop;
using io::Transport;
using test::MemoryTransport;
using test::run_turns;
using test::run_until;

namespace {

struct End final : Transport::Owner {
  void on_bytes(Bytes in) override { received += in.text(); }
  void on_end() override { events += "end "; }
  void on_writable() override {
    events += "writable ";
    if (writable) writable();
  }
  void on_closed(const Error& why) override {
    events += "closed ";
    error = why.code;
  }
  std::string received;
  std::string events;
  Errc error = Errc::io;
  std::function<void()> writable;
  std::unique_ptr<Transport> transport;
};

enum class Kind { memory, tcp, unix_socket };

void connect(Loop& loop, Kind kind, End& near, End& far) {
  if (kind == Kind::memory) {
    auto [one, two] = MemoryTransport::pair(loop);
    near.transport = std::move(one);
    far.transport = std::move(two);
  } else {
    int fds[2];
    if (kind == Kind::unix_socket) {
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    } else {
      const test::Door door;
      fds[0] = door.connect().release();
      fds[1] = door.accept().release();
    }
    near.transport = *io::Socket::adopt(loop, fds[0], kind == Kind::unix_socket);
    far.transport = *io::Socket::adopt(loop, fds[1], kind == Kind::unix_socket);
  }
  near.transport->start(near);
  far.transport->start(far);
}

template <class Case>
void for_each_kind(Case&& run) {
  for (const Kind kind : {Kind::memory, Kind::tcp, Kind::unix_socket}) {
    CAPTURE(static_cast<int>(kind));
    Loop loop;
    End near;
    End far;
    connect(loop, kind, near, far);
    run(loop, near, far);
  }
}

void write(Loop& loop, End& from, std::string_view text) {
  Chain out(loop.slabs());
  out.append(text);
  from.transport->write(out);
  CHECK(out.empty());
}

}  // namespace

TEST_CASE("transport: bytes arrive in order, both ways, on a later turn") {
  for_each_kind([](Loop& loop, End& near, End& far) {
    write(loop, near, "to ");
    write(loop, near, "you");
    write(loop, far, "to me");
    CHECK(near.received.empty());
    CHECK(far.received.empty());
    run_until(loop, [&] { return far.received == "to you" && near.received == "to me"; });
    CHECK(near.events.empty());
    CHECK(far.events.empty());
  });
}

TEST_CASE("transport: each half ends by itself") {
  for_each_kind([](Loop& loop, End& near, End& far) {
    write(loop, near, "request");
    near.transport->finish();
    run_until(loop, [&] { return far.events == "end "; });
    CHECK(far.received == "request");
    write(loop, far, "response");
    run_until(loop, [&] { return near.received == "response"; });
    CHECK(near.events.empty());
    far.transport->finish();
    run_until(loop, [&] { return near.events == "end "; });
  });
}

TEST_CASE("transport: a far end that dies has ended") {
  for_each_kind([](Loop& loop, End& near, End& far) {
    write(loop, far, "last words");
    far.transport.reset();
    run_until(loop, [&] { return near.events == "end "; });
    CHECK(near.received == "last words");
  });
}

TEST_CASE("transport: a far end that dies with unread bytes has broken off") {
  for_each_kind([](Loop& loop, End& near, End& far) {
    far.transport->receive(false);
    write(loop, near, "unread");
    write(loop, far, "answer");
    far.transport.reset();
    run_until(loop, [&] { return near.events == "closed "; });
    CHECK(near.received == "answer");
    CHECK(near.error == Errc::closed);
  });
}

TEST_CASE("transport: what nobody receives waits, and the writer with it") {
  for_each_kind([](Loop& loop, End& near, End& far) {
    const std::string much(20 << 20, 'x');
    Chain out(loop.slabs());
    out.append(Bytes(much));
    far.transport->receive(false);
    near.transport->write(out);
    run_turns(loop);
    CHECK_FALSE(out.empty());
    CHECK(far.received.empty());
    CHECK(near.events.empty());
    near.writable = [&] { near.transport->write(out); };
    far.transport->receive(true);
    CHECK(far.received.empty());
    run_until(loop, [&] { return far.received.size() == much.size(); });
    CHECK((far.received == much));
    CHECK(out.empty());
  });
}

TEST_CASE("memory transport: counts bytes, holds no more than its room, and can be reset") {
  Loop loop;
  End near;
  End far;
  auto both = MemoryTransport::pair(loop, 100);
  const auto& [one, two] = both;
  one->start(near);
  two->start(far);
  two->receive(false);
  Chain out(loop.slabs());
  out.append(std::string(150, 'x'));
  one->write(out);
  CHECK(one->sent() == 100);
  CHECK(two->unread() == 100);
  CHECK(out.size() == 50);
  two->receive(true);
  run_until(loop, [&] { return near.events == "writable "; });
  one->write(out);
  two->reset();
  run_until(loop, [&] { return near.events == "writable closed " && far.events == "closed "; });
  CHECK(far.received.size() == 150);
  CHECK(near.error == Errc::closed);
  out.append("into the void");
  one->write(out);
  CHECK(out.empty());
}
