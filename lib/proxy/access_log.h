// AccessLog: one record per exchange, one line, one place.
//
// Lines are collected per worker and handed to the writer thread when the buffer is full or after a
// tenth of a second, so that a request costs no system call and a slow disk no request.
// Thread: its worker's.
#pragma once

#include "base/line_writer.h"
#include "io/loop.h"
#include "io/timers.h"
#include <proxycore/config.h>

#include <cstdint>
#include <string>

namespace proxycore::proxy {

class Exchange;

class AccessLog {
 public:
  // `writer` is null when there is no access log.
  AccessLog(io::Loop& loop, base::LineWriter* writer, LogFormat format);
  ~AccessLog() { flush(); }
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  void record(const Exchange& exchange);
  void flush();

 private:
  void json(const Exchange& exchange);
  void combined(const Exchange& exchange);

  io::Loop& loop_;
  base::LineWriter* writer_;
  LogFormat format_;
  std::string buffer_;
  std::int64_t second_ = -1;  // the second that `date_` stands for
  std::string date_;
  io::Timer timer_;
};

}  // namespace proxycore::proxy
