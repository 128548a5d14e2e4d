// Socket: a Transport over a TCP or Unix-domain stream socket.
//
// The uv handle lives in a block of its own until libuv's close callback, so a Socket may be
// destroyed at any time. A read is one read(2) into the loop's buffer, a write one writev(2); only
// when the kernel's buffer is full does libuv wait for the socket. When a write fails while we
// read, what the peer had sent before is still delivered: it may be an answer and the reason.
// The process has to ignore SIGPIPE; Server sees to that.
// Thread: its loop's.
#pragma once

#include "io/address.h"
#include "io/loop.h"
#include "io/transport.h"

#include <memory>
#include <string>

namespace proxycore::io {

class Socket final : public Transport, Later {
 public:
  // Takes over a connected, non-blocking descriptor. Errors: io (the descriptor is closed).
  static Result<std::unique_ptr<Socket>> adopt(Loop& loop, int fd, bool is_unix);
  // Starts connecting; on_open() or on_closed() tells. Errors: io.
  static Result<std::unique_ptr<Socket>> connect(Loop& loop, const Address& to);
  // To a Unix socket, by its path. Errors: invalid (the path is too long), io.
  static Result<std::unique_ptr<Socket>> connect(Loop& loop, const std::string& path);
  ~Socket() override;

  void start(Owner& owner) override;
  void receive(bool on) override;
  void write(Chain& out) override;
  void finish() override;
  [[nodiscard]] std::size_t unsent() const noexcept override;
  void abort() override;

 private:
  struct Block;
  struct Waiting;
  friend struct Block;
  Socket(Loop& loop, Block* block) noexcept;
  void on_later() override;
  void on_connected(int status);
  void on_read(std::ptrdiff_t count, const char* data);
  void on_written(int status, std::size_t size);
  void wait_to_write(Chain& out);
  void fail(int uv_status, const char* operation);
  void update_reading();

  Loop& loop_;
  Block* block_;
  Owner* owner_ = nullptr;
  Chain* pending_ = nullptr;  // what libuv is writing the front of
  int failure_ = 0;           // a uv error; told by on_closed(), at once or later
  const char* failed_ = "";   // the operation
  bool wanted_ = false;       // the level of receive()
  bool receiving_ = false;    // libuv reads
  bool ended_ = false;        // FIN was received
  bool large_reads_ = false;
};

// "connection refused" and the like, for a negative uv status.
Error uv_error(int status, std::string_view operation);

}  // namespace proxycore::io
