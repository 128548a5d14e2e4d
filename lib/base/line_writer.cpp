#include "base/line_writer.h"

#include "base/log.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace proxycore::base {

namespace {

constexpr int poll_step_ms = 100;
constexpr int last_words_steps = 10;

Result<int> open_path(const std::string& path) {
  if (path == "stdout") {
    const int fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return Error{Errc::io, std::string("stdout: ") + std::strerror(errno)};
    return fd;
  }
  // O_NONBLOCK: a pipe that nobody reads is an error now, and no reason to wait for ever.
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
  if (fd < 0) return Error{Errc::io, "open '" + path + "': " + std::strerror(errno)};
  return fd;
}

// How much may be written at once without blocking. A file takes everything; a pipe that poll()
// finds ready takes at least PIPE_BUF.
std::size_t most_at_once(int fd) {
  struct stat status {};
  const bool file = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  return file ? std::size_t{1} << 20 : std::size_t{PIPE_BUF};
}

}  // namespace

Result<std::unique_ptr<LineWriter>> LineWriter::open(std::string path) {
  PX_TRY(const int fd, open_path(path));
  return std::unique_ptr<LineWriter>(new LineWriter(std::move(path), fd));
}

LineWriter::LineWriter(std::string path, int fd)
    : path_(std::move(path)), fd_(fd), thread_([this] { run(); }) {}

LineWriter::~LineWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  ::close(fd_);
  if (next_fd_ >= 0) ::close(next_fd_);
}

void LineWriter::write(std::string&& batch) {
  {
    const std::lock_guard lock(mutex_);
    if (queued_ + batch.size() > max_queued) {
      ++dropped_;
      return;
    }
    queued_ += batch.size();
    queue_.push_back(std::move(batch));
  }
  wake_.notify_one();
}

Result<void> LineWriter::reopen() {
  PX_TRY(const int fd, open_path(path_));
  {
    const std::lock_guard lock(mutex_);
    if (next_fd_ >= 0) ::close(next_fd_);
    next_fd_ = fd;
  }
  wake_.notify_one();
  return {};
}

std::uint64_t LineWriter::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void LineWriter::run() {
  // A reader that has gone away is an error of write(), and signals are for other threads.
  sigset_t every;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, nullptr);

  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty() || next_fd_ >= 0; });
    while (!queue_.empty()) {
      const std::string batch = std::move(queue_.front());
      queue_.pop_front();
      const int fd = fd_;
      lock.unlock();
      const bool written = put(fd, batch);
      lock.lock();
      queued_ -= batch.size();
      if (!written) ++dropped_;
    }
    if (next_fd_ >= 0) ::close(std::exchange(fd_, std::exchange(next_fd_, -1)));
    if (stopping_ && queue_.empty()) return;
  }
}

// A pipe may take its time, but not for ever once we are to stop.
bool LineWriter::put(int fd, const std::string& batch) {
  const std::size_t most = most_at_once(fd);
  std::size_t at = 0;
  while (at < batch.size()) {
    pollfd ready{fd, POLLOUT, 0};
    if (::poll(&ready, 1, poll_step_ms) == 0) {
      const std::lock_guard lock(mutex_);
      if (stopping_ && ++waited_ > last_words_steps) return false;
      continue;
    }
    const ::ssize_t count = ::write(fd, batch.data() + at, std::min(batch.size() - at, most));
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      if (!failing_) log::error("log.write", {{"path", path_}, {"why", std::strerror(errno)}});
      failing_ = true;
      return false;
    }
    at += static_cast<std::size_t>(count);
  }
  failing_ = false;
  return true;
}

}  // namespace proxycore::base
