// SocketServer: the lookup service: answers names on a Unix socket, from what a Directory knows.
//
// Clients may be old ones (one request, no line end) or ours, slow, hostile or gone: what they may
// hold is bounded, a request that does not come to its end and a client that takes no answers are
// given up, and when too many are connected the one that has been idle longest makes room.
// Not here: the messages (socket_protocol), what is in the Directory. Owned by lib/server.
// Thread: its loop's.
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "io/listener.h"
#include "io/loop.h"
#include "io/timers.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace proxycore::lookup {

// A host as it is configured, and the name or pattern that it was found by.
struct Listing {
  std::string pattern;
  Record record;
};

class Directory {
 public:
  // `name` is canonical: a name, or a pattern, which finds itself. Must not block.
  // Errors: not_found (no such host); any other: it cannot be told now.
  virtual Result<Listing> find(std::string_view name) = 0;
  // `name` was answered by a wildcard, with this listing.
  virtual void on_wildcard_hit(std::string_view /*name*/, const Listing& /*listing*/) {}

 protected:
  ~Directory() = default;
};

struct ServiceCounters {
  base::Gauge connections;
  base::Counter accepted;
  base::Counter hits;
  base::Counter misses;
  base::Counter failures;  // of the directory
  base::Counter refused;   // clients: too many, or what they sent was no request
};

class SocketServer final : io::Listener::Owner {
 public:
  struct Limits {
    std::size_t connections = 1'024;
    Millis idle{300'000};    // between requests
    Millis request{10'000};  // from a request's first byte to its last
    Millis write{10'000};    // for a client to take anything of what waits for it
  };

  // The socket, with mode 0660 and, if one is named, of that group. A stale file is replaced.
  // Errors: as io::listen_on; invalid (no such group), denied (not ours to give).
  static Result<int> listen(const std::string& path, const std::string& group);

  // Takes the descriptor.
  SocketServer(io::Loop& loop, int fd, Directory& directory, const Limits& limits,
               ServiceCounters& counters);
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;
  virtual ~SocketServer();

 private:
  class Client;

  void on_accept(int fd, const io::Address& peer, io::Listener& from) override;
  void remove(Client& client);
  // Appends the reply to a name as the client wrote it.
  void answer(std::string& out, std::string_view domain);

  io::Loop& loop_;
  Directory& directory_;
  const Limits limits_;
  ServiceCounters& counters_;
  std::size_t count_ = 0;
  base::List<Client> clients_;  // owned; the last active last
  io::Listener listener_;
};

}  // namespace proxycore::lookup
