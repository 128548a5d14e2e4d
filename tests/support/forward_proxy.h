// ForwardProxy: an HTTP proxy of a test's own, with tunnels (CONNECT) and requests in absolute
// form.
//
// Whatever host it is asked for, it goes to 127.0.0.1 at the port asked for, so that names need not
// exist. Thread: any.
#pragma once

#include "support/sockets.h"

#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace proxycore::test {

class ForwardProxy {
 public:
  struct Options {
    std::string credentials = {};  // "user:password" that it wants; empty: none
    std::string answer = {};       // to every request, in place of doing what it says
  };
  ForwardProxy() : ForwardProxy(Options{}) {}
  explicit ForwardProxy(Options options);
  // Ends all connections.
  ~ForwardProxy();
  ForwardProxy(const ForwardProxy&) = delete;
  ForwardProxy& operator=(const ForwardProxy&) = delete;

  // "http://user:password@127.0.0.1:1234".
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::string place() const { return door_.address.text(); }
  // What it was asked for: "CONNECT ca.test:443", "GET http://ca.test/x".
  [[nodiscard]] std::vector<std::string> asked() const;

 private:
  class Visit;
  void accept();

  const Options options_;
  Door door_;
  mutable std::mutex mutex_;  // of what follows
  std::vector<std::string> asked_;
  bool ending_ = false;
  std::list<Visit> visits_;
  std::thread accepting_;
};

}  // namespace proxycore::test
