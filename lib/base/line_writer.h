// LineWriter: writes batches of lines to a file or to standard output, on a thread of its own.
//
// Producers hand over filled buffers and never wait for the disk. The queue is bounded: when the
// writer is that far behind, whole batches are dropped and counted. A file is opened for appending
// with mode 0640 and can be reopened after it was renamed (rotation).
// Thread: write, reopen and dropped on any.
#pragma once

#include <proxycore/result.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace proxycore::base {

class LineWriter {
 public:
  static constexpr std::size_t max_queued = std::size_t{64} << 20;  // bytes

  // `path`: a file or named pipe, or "stdout". Errors: io (path and reason).
  static Result<std::unique_ptr<LineWriter>> open(std::string path);
  // Writes what is queued; for about a second, if the receiver does not take it.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // `batch` is whole lines.
  void write(std::string&& batch);
  // Opens the path anew, behind what is queued; on an error the old file stays in use.
  Result<void> reopen();
  // Batches that were dropped because the queue was full or writing failed.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  LineWriter(std::string path, int fd);
  void run();
  bool put(int fd, const std::string& batch);

  const std::string path_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> queue_;
  std::size_t queued_ = 0;
  std::uint64_t dropped_ = 0;
  int fd_;
  int next_fd_ = -1;  // to be used once what is queued has been written
  bool stopping_ = false;
  int waited_ = 0;        // steps, since we are to stop
  bool failing_ = false;  // the last write failed: said once
  std::thread thread_;
};

}  // namespace proxycore::base
