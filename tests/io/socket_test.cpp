#include "io/socket.h"

#include "support/sockets.h"
#include "support/turns.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <uv.h>

using namespace proxycore;
using base::Bytes;
using base::Chain;
using io::Loop;
using io::Socket;
using test::Answer;
using test::Door;
using test::Fd;
using test::run_turns;
using test::run_until;

namespace {

// Writes down what a socket tells; a test may do something in between.
struct Owner final : io::Transport::Owner {
  void on_open() override { note("open"); }
  void on_bytes(Bytes in) override {
    received += in.text();
    largest = std::max(largest, in.size);
    ++reads;
    if (during_bytes) during_bytes(in);
  }
  void on_end() override { note("end"); }
  void on_writable() override { note("writable"); }
  void on_closed(const Error& why) override {
    error = why;
    note("closed");
  }
  void note(const char* event) {
    CHECK_FALSE(error_told);
    error_told = error.has_value();
    events.emplace_back(event);
    if (during_event) during_event(event);
  }
  [[nodiscard]] bool saw(std::string_view event) const {
    for (const std::string& each : events) {
      if (each == event) return true;
    }
    return false;
  }

  std::vector<std::string> events;
  std::string received;
  std::size_t largest = 0;
  int reads = 0;
  std::optional<Error> error;
  bool error_told = false;  // nothing may follow
  std::function<void(Bytes)> during_bytes;
  std::function<void(std::string_view)> during_event;
};

// A socket of ours, and the raw far end of its connection.
struct Connected {
  explicit Connected(Loop& loop, bool is_unix = false) {
    int near = -1;
    if (is_unix) {
      int both[2];
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both) == 0);
      near = both[0];
      far = Fd(both[1]);
    } else {
      const Door door;
      far = door.connect();
      near = door.accept().release();
    }
    Fd(::dup(near)).set_blocking(false);
    auto adopted = Socket::adopt(loop, near, is_unix);
    REQUIRE(adopted);
    socket = *std::move(adopted);
    socket->start(owner);
  }

  Owner owner;
  std::unique_ptr<Socket> socket;
  Fd far;
};

// A chain of `size` bytes that costs one slab, so that a large one can be built.
void append_shared(Chain& chain, base::Slabs& slabs, std::size_t size) {
  const base::SlabRef slab = slabs.take(256 << 10);
  for (std::size_t i = 0; i < slab->capacity; ++i) slab->data()[i] = static_cast<char>(i * i >> 3);
  for (std::size_t at = 0; at < size; at += slab->capacity) {
    chain.append(Bytes(slab->data(), std::min<std::size_t>(slab->capacity, size - at), slab.get()));
  }
}

void write_all(Loop& loop, Connected& pair, Chain& chain) {
  pair.owner.during_event = [&](std::string_view event) {
    if (event == "writable") pair.socket->write(chain);
  };
  pair.socket->write(chain);
  run_until(loop, [&] { return chain.empty(); });
}

}  // namespace

TEST_CASE("socket: connects, exchanges bytes and ends, both ways") {
  for (const char* ip : {"127.0.0.1", "::1"}) {
    CAPTURE(ip);
    Loop loop;
    const Door door(ip);
    Owner owner;
    auto socket = Socket::connect(loop, door.address);
    REQUIRE(socket);
    (*socket)->start(owner);
    CHECK(owner.events.empty());
    run_until(loop, [&] { return owner.saw("open"); });
    const Fd far = door.accept();
    Chain out(loop.slabs());
    out.append("ping");
    (*socket)->write(out);
    CHECK(out.empty());
    CHECK(far.receive() == "ping");
    far.send("pong");
    run_until(loop, [&] { return owner.received == "pong"; });
    far.shut_write();
    run_until(loop, [&] { return owner.saw("end"); });
    (*socket)->finish();
    CHECK(far.receive() == "");
    CHECK(owner.events == std::vector<std::string>{"open", "end"});
  }
}

TEST_CASE("socket: nobody listens there") {
  Loop loop;
  const Door closed("127.0.0.1", Answer::refuses);
  Owner owner;
  auto socket = Socket::connect(loop, closed.address);
  REQUIRE(socket);
  (*socket)->start(owner);
  run_until(loop, [&] { return owner.saw("closed"); });
  CHECK(owner.error->code == Errc::refused);
  CHECK(owner.error->detail == "connect: connection refused");
  CHECK(owner.events == std::vector<std::string>{"closed"});
}

TEST_CASE("socket: what is no open descriptor is an error") {
  Loop loop;
  for (const bool is_unix : {false, true}) {
    const auto adopted = Socket::adopt(loop, -1, is_unix);
    REQUIRE_FALSE(adopted);
    CHECK(adopted.error().code == Errc::io);
  }
}

TEST_CASE("socket: after the far end's FIN we still send") {
  for (const bool is_unix : {false, true}) {
    CAPTURE(is_unix);
    Loop loop;
    Connected pair(loop, is_unix);
    pair.far.send("last words");
    pair.far.shut_write();
    run_until(loop, [&] { return pair.owner.saw("end"); });
    CHECK(pair.owner.received == "last words");
    Chain out(loop.slabs());
    out.append("answer");
    pair.socket->write(out);
    pair.socket->finish();
    CHECK(pair.far.receive_all() == "answer");
    run_turns(loop);
    CHECK(pair.owner.events == std::vector<std::string>{"end"});
  }
}

TEST_CASE("socket: after our FIN we still receive") {
  for (const bool is_unix : {false, true}) {
    CAPTURE(is_unix);
    Loop loop;
    Connected pair(loop, is_unix);
    pair.socket->finish();
    CHECK(pair.far.receive() == "");
    pair.far.send("answer");
    run_until(loop, [&] { return pair.owner.received == "answer"; });
    pair.far.close();
    run_until(loop, [&] { return pair.owner.saw("end"); });
    CHECK(pair.owner.events == std::vector<std::string>{"end"});
  }
}

TEST_CASE("socket: a reset is told as closed") {
  Loop loop;
  Connected pair(loop);
  pair.far.abort();
  run_until(loop, [&] { return pair.owner.saw("closed"); });
  CHECK(pair.owner.error->code == Errc::closed);
  CHECK(pair.owner.events == std::vector<std::string>{"closed"});
}

TEST_CASE("socket: bytes and a reset behind them are not taken for an orderly end") {
  // A message that ends with the connection would have passed as complete.
  Loop loop;
  Connected pair(loop);
  pair.far.send("cut of");
  pair.far.abort();
  run_until(loop, [&] { return !pair.owner.events.empty(); });
  CHECK(pair.owner.received == "cut of");
  REQUIRE(pair.owner.events == std::vector<std::string>{"closed"});
  CHECK(pair.owner.error->code == Errc::closed);
}

TEST_CASE("socket: an answer sent before a reset arrives, though a write failed first") {
  // An origin that refuses a body: it answers, and closes with our bytes unread.
  for (const bool is_unix : {false, true}) {
    CAPTURE(is_unix);
    Loop loop;
    Connected pair(loop, is_unix);
    Chain out(loop.slabs());
    out.append("unread");
    pair.socket->write(out);
    pair.far.send("413");
    pair.far.close();  // with unread bytes: RST
    for (int i = 0; i < 3; ++i) {
      out.append("more");
      pair.socket->write(out);
      CHECK(out.empty());
    }
    run_until(loop, [&] { return !pair.owner.events.empty(); });
    CHECK(pair.owner.received == "413");
    REQUIRE(pair.owner.events == std::vector<std::string>{"closed"});
    CHECK(pair.owner.error->code == Errc::closed);
  }
}

TEST_CASE("socket: a write that fails is told though nobody reads, in a later turn, once") {
  Loop loop;
  Connected pair(loop);
  pair.socket->receive(false);
  pair.far.abort();
  Chain out(loop.slabs());
  for (int i = 0; i < 3; ++i) {
    out.append("lost");
    pair.socket->write(out);
    CHECK(out.empty());
  }
  CHECK(pair.owner.events.empty());
  run_until(loop, [&] { return pair.owner.saw("closed"); });
  out.append("more");
  pair.socket->write(out);
  CHECK(out.empty());
  pair.socket->receive(true);
  pair.socket->finish();
  run_turns(loop);
  CHECK(pair.owner.events == std::vector<std::string>{"closed"});
}

TEST_CASE("socket: a reset while a write waits is told once") {
  for (const bool receiving : {true, false}) {
    CAPTURE(receiving);
    Loop loop;
    Connected pair(loop);
    pair.socket->receive(receiving);
    Chain out(loop.slabs());
    append_shared(out, loop.slabs(), 16 << 20);
    pair.socket->write(out);
    CHECK_FALSE(out.empty());
    pair.far.abort();
    run_until(loop, [&] { return pair.owner.saw("closed"); });
    run_turns(loop);
    CHECK(pair.owner.events == std::vector<std::string>{"closed"});
    CHECK(out.empty());
  }
}

TEST_CASE("socket: much more than the kernel takes arrives whole and in order at a slow reader") {
  for (const bool is_unix : {false, true}) {
    CAPTURE(is_unix);
    constexpr std::size_t size = (24 << 20) + 12345;
    Loop loop;
    Connected pair(loop, is_unix);
    Chain out(loop.slabs());
    append_shared(out, loop.slabs(), size);
    const std::size_t memory = loop.slabs().allocated();
    std::string expected;
    while (expected.size() < size) expected += out.front().text();
    expected.resize(size);

    std::string got;
    std::thread reader([&] {
      for (std::string part = pair.far.receive(9'999); !part.empty();
           part = pair.far.receive(9'999)) {
        got += part;
      }
    });
    write_all(loop, pair, out);
    CHECK(loop.slabs().allocated() == memory);
    pair.socket->finish();
    reader.join();
    CHECK((got == expected));
  }
}

TEST_CASE("socket: a chain may grow while its front is being written") {
  Loop loop;
  Connected pair(loop);
  Chain out(loop.slabs());
  std::string sent;
  const auto add = [&](char letter, std::size_t count) {
    const std::string part(count, letter);
    out.append(part);
    sent += part;
  };
  add('a', 8 << 20);
  pair.socket->write(out);
  REQUIRE_FALSE(out.empty());
  add('b', 100);
  pair.socket->write(out);  // has to wait for its turn
  add('c', 1 << 20);
  std::string got;
  std::thread reader([&] { got = pair.far.receive_all(); });
  write_all(loop, pair, out);
  pair.socket->finish();
  reader.join();
  CHECK((got == sent));
}

TEST_CASE("socket: a chain cleared while its front waits does not change what is sent") {
  // Its slabs went on to others: their bytes would have been sent to this peer.
  for (const bool destroyed : {false, true}) {
    CAPTURE(destroyed);
    Loop loop;
    Connected pair(loop);
    Chain out(loop.slabs());
    out.append(std::string(8 << 20, 'a'));
    pair.socket->write(out);
    REQUIRE_FALSE(out.empty());
    out.clear();
    std::vector<base::SlabRef> others;
    for (int i = 0; i < 64; ++i) {
      others.push_back(loop.slabs().take(64 << 10));
      std::memset(others.back()->data(), 'z', others.back()->capacity);
    }
    if (destroyed) pair.socket.reset();
    std::string got;
    run_until(loop, [&] {
      got += pair.far.receive_now();
      return pair.owner.saw("writable") || pair.far.ended();
    });
    CHECK(got.find('z') == std::string::npos);
  }
}

TEST_CASE("socket: asks for more only after something was left") {
  Loop loop;
  Connected pair(loop);
  Chain out(loop.slabs());
  out.append("small");
  pair.socket->write(out);
  run_turns(loop);
  CHECK(pair.owner.events.empty());
  pair.socket->write(out);  // nothing
  run_turns(loop);
  CHECK(pair.owner.events.empty());
}

TEST_CASE("socket: receive is a level") {
  Loop loop;
  Connected pair(loop);
  pair.socket->receive(false);
  pair.socket->receive(false);
  pair.far.send("held");
  run_turns(loop, 5);
  CHECK(pair.owner.received.empty());
  pair.socket->receive(true);
  pair.socket->receive(true);
  CHECK(pair.owner.received.empty());  // not before it returns
  run_until(loop, [&] { return pair.owner.received == "held"; });
  pair.socket->receive(false);
  pair.socket->receive(true);
  pair.far.close();
  run_until(loop, [&] { return pair.owner.saw("end"); });
  pair.socket->receive(false);
  pair.socket->receive(true);
  run_turns(loop);
  CHECK(pair.owner.events == std::vector<std::string>{"end"});
}

TEST_CASE("socket: the level set before it is open holds when it is") {
  Loop loop;
  const Door door;
  Owner owner;
  auto socket = Socket::connect(loop, door.address);
  REQUIRE(socket);
  (*socket)->start(owner);
  (*socket)->receive(false);
  const Fd far = door.accept();
  far.send("early");
  run_until(loop, [&] { return owner.saw("open"); });
  run_turns(loop, 5);
  CHECK(owner.received.empty());
  (*socket)->receive(true);
  run_until(loop, [&] { return owner.received == "early"; });
}

TEST_CASE("socket: reading stopped inside on_bytes stops at once") {
  Loop loop;
  Connected pair(loop);
  pair.owner.during_bytes = [&](Bytes) { pair.socket->receive(false); };
  pair.far.send(std::string(400'000, 'x'));
  run_until(loop, [&] { return pair.owner.reads == 1; });
  run_turns(loop, 5);
  CHECK(pair.owner.reads == 1);
}

TEST_CASE("socket: reads grow while they fill their buffer, and shrink again") {
  Loop loop;
  Connected pair(loop);
  const int room = 4 << 20;
  std::thread sender;
  // Everything is there before the first read, as far as the kernel takes it.
  pair.socket->receive(false);
  sender = std::thread([&] { pair.far.send(std::string(room, 'x')); });
  pair.socket->receive(true);
  run_until(loop, [&] { return pair.owner.received.size() == room; });
  sender.join();
  CHECK(pair.owner.largest > 64 << 10);
  CHECK(pair.owner.largest <= 256 << 10);
  // Two short ones: the first may still have had the large buffer.
  for (int i = 0; i < 2; ++i) {
    pair.owner.received.clear();
    pair.far.send("short");
    run_until(loop, [&] { return pair.owner.received == "short"; });
  }
  pair.owner.during_bytes = [](Bytes in) { CHECK(in.slab->capacity == 64 << 10); };
  pair.owner.received.clear();
  pair.far.send("short");
  run_until(loop, [&] { return pair.owner.received == "short"; });
}

TEST_CASE("socket: a share of what was read stays as it is while reading goes on") {
  Loop loop;
  Connected pair(loop);
  Chain kept(loop.slabs());
  pair.owner.during_bytes = [&](Bytes in) { kept.append(in); };
  std::string sent;
  std::string got;
  for (int i = 0; i < 20; ++i) {
    const std::string part(40'000, static_cast<char>('a' + i));
    sent += part;
    pair.far.send(part);
    run_until(loop, [&] { return pair.owner.received.size() == sent.size(); });
  }
  while (!kept.empty()) {
    const Bytes front = kept.front();
    got += front.text();
    kept.consume(front.size);
  }
  CHECK((got == sent));
}

TEST_CASE("socket: may be destroyed inside each of its callbacks") {
  SUBCASE("bytes") {
    Loop loop;
    Connected pair(loop);
    pair.owner.during_bytes = [&](Bytes) { pair.socket.reset(); };
    pair.far.send("x");
    run_until(loop, [&] { return pair.socket == nullptr; });
    CHECK(pair.far.receive() == "");
  }
  SUBCASE("end") {
    Loop loop;
    Connected pair(loop);
    pair.owner.during_event = [&](std::string_view) { pair.socket.reset(); };
    pair.far.shut_write();
    run_until(loop, [&] { return pair.socket == nullptr; });
    CHECK(pair.far.receive() == "");
  }
  SUBCASE("writable") {
    Loop loop;
    Connected pair(loop);
    Chain out(loop.slabs());
    append_shared(out, loop.slabs(), 16 << 20);
    pair.owner.during_event = [&](std::string_view event) {
      CHECK(event == "writable");
      pair.socket.reset();
    };
    pair.socket->write(out);
    std::thread reader([&] { CHECK_FALSE(pair.far.receive_all().empty()); });
    run_until(loop, [&] { return pair.socket == nullptr; });
    run_turns(loop);
    reader.join();
  }
  SUBCASE("closed, by a reset") {
    Loop loop;
    Connected pair(loop);
    pair.owner.during_event = [&](std::string_view) { pair.socket.reset(); };
    pair.far.abort();
    run_until(loop, [&] { return pair.socket == nullptr; });
  }
  SUBCASE("closed, by a write") {
    Loop loop;
    Connected pair(loop);
    pair.owner.during_event = [&](std::string_view) { pair.socket.reset(); };
    pair.socket->receive(false);
    pair.far.abort();
    Chain out(loop.slabs());
    for (int i = 0; i < 3; ++i) {
      out.append("x");
      pair.socket->write(out);
    }
    run_until(loop, [&] { return pair.socket == nullptr; });
  }
  SUBCASE("open, and refused") {
    for (const bool open : {true, false}) {
      Loop loop;
      const Door door("127.0.0.1", open ? Answer::accepts : Answer::refuses);
      Owner owner;
      std::unique_ptr<Socket> socket = *Socket::connect(loop, door.address);
      owner.during_event = [&](std::string_view) { socket.reset(); };
      socket->start(owner);
      run_until(loop, [&] { return socket == nullptr; });
      run_turns(loop);
      CHECK(owner.events == std::vector<std::string>{open ? "open" : "closed"});
    }
  }
}

TEST_CASE("socket: may be destroyed while it connects, and while it writes") {
  SUBCASE("connecting") {
    Loop loop;
    const Door door;
    Owner owner;
    auto socket = Socket::connect(loop, door.address);
    REQUIRE(socket);
    (*socket)->start(owner);
    socket->reset();
    run_turns(loop);
    CHECK(owner.events.empty());
  }
  SUBCASE("writing") {
    Loop loop;
    Connected pair(loop);
    {
      Chain out(loop.slabs());
      append_shared(out, loop.slabs(), 16 << 20);
      pair.socket->write(out);
      CHECK_FALSE(out.empty());
      pair.socket.reset();
    }
    run_turns(loop);
    CHECK(pair.owner.events.empty());
  }
  SUBCASE("with a failure to tell") {
    Loop loop;
    Connected pair(loop);
    pair.socket->receive(false);
    pair.far.abort();
    Chain out(loop.slabs());
    for (int i = 0; i < 3; ++i) {
      out.append("x");
      pair.socket->write(out);
    }
    pair.socket.reset();
    run_turns(loop);
    CHECK(pair.owner.events.empty());
  }
}

TEST_CASE("socket: errors of the system become codes that a caller can act on") {
  CHECK(io::uv_error(UV_ECONNREFUSED, "connect").code == Errc::refused);
  CHECK(io::uv_error(UV_ETIMEDOUT, "connect").code == Errc::timeout);
  CHECK(io::uv_error(UV_EPIPE, "write").code == Errc::closed);
  CHECK(io::uv_error(UV_EMFILE, "connect").code == Errc::io);
  CHECK(io::uv_error(UV_EMFILE, "connect").detail == "connect: too many open files");
}
