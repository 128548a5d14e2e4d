// Mirror: a copy of the records of one store in another, on this machine's disk, for starting when
// the first cannot be reached.
//
// A thread of its own copies what it is told has changed, so that nobody waits for the disk. Not
// here: deciding what to believe (route_feed.h): the copy is made of what is served.
// Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/store.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

namespace proxycore::server {

class Mirror {
 public:
  // Copies the records under `prefix`. Both stores must outlive it.
  Mirror(Store& from, Store& to, std::string_view prefix);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // These records changed, or went.
  void changed(std::span<const std::string> keys);
  // Any may have.
  void all_changed();
  // The copy is that of this moment, in milliseconds since 1970, as far as it was told.
  void confirm(std::int64_t now);

  // Of a copy: the last confirm() it has kept; 0: none.
  static std::int64_t confirmed(Store& copy, const Deadline& by);

 private:
  void run();
  Result<void> copy_all(const Deadline& by);
  Result<void> copy(const std::string& key, const Deadline& by);

  Store& from_;
  Store& to_;
  const std::string prefix_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::set<std::string, std::less<>> keys_;
  bool all_ = false;
  bool ending_ = false;
  std::int64_t confirmed_ = 0;
  std::stop_source stop_;

  std::thread thread_;
};

}  // namespace proxycore::server
