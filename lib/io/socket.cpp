#include "io/socket.h"

#include "base/assert.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

namespace proxycore::io {

namespace {
constexpr std::size_t pieces_per_write = 16;

// The front of a chain as libuv wants it.
struct Pieces {
  explicit Pieces(const Chain& chain) {
    iovec raw[pieces_per_write];
    count = static_cast<unsigned>(chain.peek(raw, pieces_per_write));
    for (unsigned i = 0; i < count; ++i) {
      buffers[i] =
          uv_buf_init(static_cast<char*>(raw[i].iov_base), static_cast<unsigned>(raw[i].iov_len));
      size += raw[i].iov_len;
    }
  }
  uv_buf_t buffers[pieces_per_write];
  unsigned count = 0;
  std::size_t size = 0;  // bytes
};
}  // namespace

// A write that libuv finishes once the socket takes more. It holds the slabs, so that their bytes
// stay what they are, whatever becomes of the chain they came from.
struct Socket::Waiting {
  uv_write_t request;
  std::array<base::SlabRef, pieces_per_write> slabs;
  std::size_t size = 0;  // bytes
};

struct Socket::Block {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  std::unique_ptr<uv_connect_t> connecting;  // until the connection is there, or refused
  std::unique_ptr<Waiting> waiting;
  Socket* socket = nullptr;

  static Block* open(Loop& loop, bool is_unix) {
    auto* block = new Block;
    if (is_unix) {
      uv_pipe_init(&loop.uv(), &block->pipe, 0);
    } else {
      uv_tcp_init(&loop.uv(), &block->tcp);
    }
    block->handle.data = block;
    return block;
  }
  static void on_connected(uv_connect_t* request, int result) {
    auto* block = static_cast<Block*>(request->data);
    block->connecting.reset();
    if (block->socket != nullptr) block->socket->on_connected(result);
  }
  void close() {
    socket = nullptr;
    if (waiting) waiting->slabs = {};  // nothing is sent any more
    uv_close(&handle, [](uv_handle_t* closed) { delete static_cast<Block*>(closed->data); });
  }
  [[nodiscard]] int fd() const {
    uv_os_fd_t number = -1;
    uv_fileno(&handle, &number);
    return number;
  }
  // What broke the connection, as a uv status; UV_EOF: nothing did.
  [[nodiscard]] int error() const {
    int reason = 0;
    socklen_t size = sizeof reason;
    ::getsockopt(fd(), SOL_SOCKET, SO_ERROR, &reason, &size);
    return reason != 0 ? uv_translate_sys_error(reason) : UV_EOF;
  }

 private:
  Block() {}  // NOLINT: the union is set up by libuv
};

Error uv_error(int status, std::string_view operation) {
  Errc code = Errc::io;
  switch (status) {
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_EPIPE:
      code = Errc::closed;
      break;
    case UV_ECONNREFUSED:
    case UV_ENOENT:
      code = Errc::refused;
      break;
    case UV_ETIMEDOUT:
      code = Errc::timeout;
      break;
    default:
      break;
  }
  return Error{code, uv_strerror(status)}.within(operation);
}

Socket::Socket(Loop& loop, Block* block) noexcept : loop_(loop), block_(block) {
  block_->socket = this;
}

Socket::~Socket() {
  block_->close();
}

Result<std::unique_ptr<Socket>> Socket::adopt(Loop& loop, int fd, bool is_unix) {
  Block* block = Block::open(loop, is_unix);
  const int status = is_unix ? uv_pipe_open(&block->pipe, fd) : uv_tcp_open(&block->tcp, fd);
  if (status != 0) {
    ::close(fd);
    block->close();
    return uv_error(status, "adopt socket");
  }
  return std::unique_ptr<Socket>(new Socket(loop, block));
}

Result<std::unique_ptr<Socket>> Socket::connect(Loop& loop, const Address& to) {
  Block* block = Block::open(loop, false);
  block->connecting = std::make_unique<uv_connect_t>();
  block->connecting->data = block;
  const int status =
      uv_tcp_connect(block->connecting.get(), &block->tcp, to.data(), &Block::on_connected);
  if (status != 0) {
    block->close();
    return uv_error(status, "connect");
  }
  uv_tcp_nodelay(&block->tcp, 1);
  return std::unique_ptr<Socket>(new Socket(loop, block));
}

Result<std::unique_ptr<Socket>> Socket::connect(Loop& loop, const std::string& path) {
  // libuv would cut it off without a word.
  if (path.size() >= sizeof sockaddr_un::sun_path) {
    return Error{Errc::invalid, "connect: the path of the socket is too long"};
  }
  Block* block = Block::open(loop, true);
  block->connecting = std::make_unique<uv_connect_t>();
  block->connecting->data = block;
  uv_pipe_connect(block->connecting.get(), &block->pipe, path.c_str(), &Block::on_connected);
  return std::unique_ptr<Socket>(new Socket(loop, block));
}

void Socket::start(Owner& owner) {
  owner_ = &owner;
  receive(true);
}

void Socket::on_connected(int status) {
  if (status != 0) {
    failure_ = status;
    owner_->on_closed(uv_error(status, "connect"));
    return;
  }
  update_reading();
  owner_->on_open();
}

void Socket::receive(bool on) {
  wanted_ = on;
  update_reading();
}

void Socket::update_reading() {
  const bool on = wanted_ && !ended_;
  if (receiving_ == on || block_->connecting) return;
  if (!on) {
    uv_read_stop(&block_->stream);
    receiving_ = false;
    if (failure_ != 0) loop_.later(*this);  // it waited for the end of what could be read
    return;
  }
  if (failure_ != 0) return;
  const int status = uv_read_start(
      &block_->stream,
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        Socket* self = static_cast<Block*>(handle->data)->socket;
        base::Slab& slab = self->loop_.read_slab(self->large_reads_);
        *buffer = uv_buf_init(slab.data(), slab.capacity);
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
        if (count == 0) return;  // EAGAIN
        static_cast<Block*>(stream->data)->socket->on_read(count, buffer->base);
      });
  receiving_ = status == 0;
  if (status != 0) fail(status, "read");
}

void Socket::on_read(std::ptrdiff_t count, const char* data) {
  if (count < 0) {
    uv_read_stop(&block_->stream);
    ended_ = true;
    receiving_ = false;
    auto status = static_cast<int>(count);
    // libuv takes a hang-up behind a short read for the end without reading on, and then gives no
    // buffer: it may have been a reset.
    if (status == UV_EOF && data == nullptr) status = block_->error();
    if (failure_ == 0 && status != UV_EOF) {
      failure_ = status;
      failed_ = "read";
    }
    if (failure_ != 0) {
      on_later();
    } else {
      owner_->on_end();
    }
    return;
  }
  base::Slab& slab = loop_.read_slab(large_reads_);
  const auto size = static_cast<std::size_t>(count);
  // A full buffer means more is waiting: the next reads get a larger one, until they are short.
  if (large_reads_) {
    large_reads_ = size > slab.capacity / 4;
  } else {
    large_reads_ = size == slab.capacity;
  }
  owner_->on_bytes({data, size, &slab});
}

void Socket::write(Chain& out) {
  if (failure_ != 0) {
    out.clear();
    return;
  }
  if (block_->connecting || pending_ != nullptr) return;
  while (!out.empty()) {
    const Pieces pieces(out);
    const int sent = uv_try_write(&block_->stream, pieces.buffers, pieces.count);
    if (sent < 0 && sent != UV_EAGAIN) {
      fail(sent, "write");
      out.clear();
      return;
    }
    if (sent > 0) out.consume(static_cast<std::size_t>(sent));
    if (sent < 0 || static_cast<std::size_t>(sent) < pieces.size) break;
  }
  if (!out.empty()) wait_to_write(out);
}

// The kernel's buffer is full: libuv waits for the socket and sends the front pieces.
void Socket::wait_to_write(Chain& out) {
  const Pieces pieces(out);
  auto waiting = std::make_unique<Waiting>();
  out.hold(waiting->slabs.data(), pieces_per_write);
  waiting->size = pieces.size;
  waiting->request.data = block_;
  const int status = uv_write(&waiting->request, &block_->stream, pieces.buffers, pieces.count,
                              [](uv_write_t* request, int result) {
                                auto* written = static_cast<Block*>(request->data);
                                const std::unique_ptr<Waiting> done = std::move(written->waiting);
                                if (written->socket != nullptr)
                                  written->socket->on_written(result, done->size);
                              });
  if (status != 0) {
    fail(status, "write");
    out.clear();
    return;
  }
  block_->waiting = std::move(waiting);
  pending_ = &out;
}

void Socket::on_written(int status, std::size_t size) {
  Chain* out = std::exchange(pending_, nullptr);
  if (status != 0) {
    out->clear();
    if (failure_ == 0) fail(status, "write");
    return;
  }
  out->consume(std::min(size, out->size()));
  if (failure_ == 0) owner_->on_writable();
}

void Socket::finish() {
  PX_ASSERT(pending_ == nullptr);
  // A direct call: uv_shutdown would allocate a request and wait a turn for nothing.
  if (failure_ == 0) ::shutdown(block_->fd(), SHUT_WR);
}

std::size_t Socket::unsent() const noexcept {
  int in_kernel = 0;
  ::ioctl(block_->fd(), SIOCOUTQ, &in_kernel);
  return static_cast<std::size_t>(in_kernel) + uv_stream_get_write_queue_size(&block_->stream);
}

void Socket::abort() {
  // Closing then discards what is queued and sends RST (socket(7), SO_LINGER).
  const linger at_once{1, 0};
  ::setsockopt(block_->fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void Socket::fail(int uv_status, const char* operation) {
  failure_ = uv_status;
  failed_ = operation;
  // A reader is told at the end of what there is to read.
  if (!receiving_) loop_.later(*this);
}

void Socket::on_later() {
  owner_->on_closed(uv_error(failure_, failed_));
}

}  // namespace proxycore::io
