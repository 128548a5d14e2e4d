// MemoryTransport: two Transports on one loop that are each other's far end, without sockets.
//
// What one writes the other gets on a later turn, in pieces of at most one read buffer. A test can
// make the room between them small, break the connection, and ask how many bytes went through.
// Thread: the loop's.
#pragma once

#include "io/loop.h"
#include "io/transport.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

namespace proxycore::test {

class MemoryTransport final : public io::Transport, io::Later {
 public:
  using Pair = std::pair<std::unique_ptr<MemoryTransport>, std::unique_ptr<MemoryTransport>>;

  // `room` is how many bytes may be on the way in each direction.
  static Pair pair(io::Loop& loop, std::size_t room = 256 << 10) {
    Pair both(new MemoryTransport(loop, room), new MemoryTransport(loop, room));
    both.first->far_ = both.second.get();
    both.second->far_ = both.first.get();
    return both;
  }
  MemoryTransport(const MemoryTransport&) = delete;
  MemoryTransport& operator=(const MemoryTransport&) = delete;
  // As close(2): FIN, or a reset if something was not read.
  ~MemoryTransport() override {
    if (far_ == nullptr) return;
    if (in_.empty() && !aborts_) {
      blocked_ = false;  // what was not taken goes with us
      finish();
    } else {
      far_->break_off();
    }
    far_->far_ = nullptr;
  }

  // Before start(): opens on a later turn, as after a TLS handshake that chose `protocol`.
  void open_later(std::string protocol) {
    alpn_ = std::move(protocol);
    opening_ = true;
  }
  // The handshake is done: on_open() follows.
  void open() {
    opening_ = false;
    tell_open_ = true;
    loop_.later(*this);
  }

  void start(Owner& owner) override {
    owner_ = &owner;
    receive(true);
  }
  [[nodiscard]] std::string_view alpn() const noexcept override { return alpn_; }
  void receive(bool on) override {
    receiving_ = on;
    loop_.later(*this);
  }
  void write(io::Chain& out) override {
    if (finished_ || blocked_) return;
    if (far_ == nullptr || broken_) {
      if (!out.empty()) break_off();
      out.clear();
      return;
    }
    while (!out.empty() && far_->in_.size() < room_) {
      const io::Bytes front = out.front();
      const std::size_t size = std::min(front.size, room_ - far_->in_.size());
      far_->in_.append(front.data, size);
      out.consume(size);
      sent_ += size;
    }
    blocked_ = !out.empty();
    loop_.later(*far_);
  }
  void finish() override {
    CHECK_FALSE(blocked_);
    if (finished_ || far_ == nullptr) return;
    finished_ = true;
    far_->far_finished_ = true;
    loop_.later(*far_);
  }

  void abort() override { aborts_ = true; }
  [[nodiscard]] std::size_t unsent() const noexcept override {
    return far_ != nullptr ? far_->in_.size() : 0;
  }

  // Breaks the connection for both; each is told after what it can still read.
  void reset() {
    break_off();
    if (far_ != nullptr) far_->break_off();
  }
  // Bytes that write() took so far.
  [[nodiscard]] std::size_t sent() const noexcept { return sent_; }
  // Bytes that wait for receive(true), or the next turn.
  [[nodiscard]] std::size_t unread() const noexcept { return in_.size(); }
  [[nodiscard]] bool receiving() const noexcept { return receiving_; }

 private:
  MemoryTransport(io::Loop& loop, std::size_t room) : loop_(loop), room_(room) {}

  void break_off() {
    broken_ = true;
    loop_.later(*this);
  }

  // Tells one thing and asks for another turn before it does, as it may be the last.
  void on_later() override {
    if (owner_ == nullptr || told_closed_ || (opening_ && !broken_)) return;
    if (tell_open_) {
      tell_open_ = false;
      loop_.later(*this);
      owner_->on_open();
    } else if (blocked_ && !broken_ && far_ != nullptr && far_->in_.size() <= room_ / 2) {
      blocked_ = false;
      loop_.later(*this);
      owner_->on_writable();
    } else if (receiving_ && !in_.empty()) {
      base::Slab& slab = loop_.read_slab(false);
      const std::size_t size = std::min<std::size_t>(in_.size(), slab.capacity);
      std::memcpy(slab.data(), in_.data(), size);
      in_.erase(0, size);
      loop_.later(*this);
      if (far_ != nullptr && far_->blocked_) loop_.later(*far_);
      owner_->on_bytes({slab.data(), size, &slab});
    } else if (broken_ && (in_.empty() || !receiving_)) {
      told_closed_ = true;
      owner_->on_closed({Errc::closed, "read: connection reset by peer"});
    } else if (receiving_ && far_finished_ && !told_end_) {
      told_end_ = true;
      owner_->on_end();
    }
  }

  io::Loop& loop_;
  const std::size_t room_;
  MemoryTransport* far_ = nullptr;  // null when it has died
  Owner* owner_ = nullptr;
  std::string in_;  // what the far end sent
  std::size_t sent_ = 0;
  std::string alpn_;
  bool opening_ = false;
  bool tell_open_ = false;
  bool receiving_ = false;
  bool blocked_ = false;       // write() left something
  bool finished_ = false;      // by us
  bool far_finished_ = false;  // FIN is behind in_
  bool aborts_ = false;        // when it dies
  bool broken_ = false;
  bool told_end_ = false;
  bool told_closed_ = false;
};

}  // namespace proxycore::test
