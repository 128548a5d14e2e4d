// Transport: a two-way byte stream with backpressure; plain sockets and TLS are the same type.
//
// Nothing here calls back before it returns: what a call finds out is delivered on a later turn.
// Reading is a level (receive). Output is pulled: write() takes what fits off the caller's chain,
// and on_writable() asks for the rest. Tests use a memory pair (tests/support/memory_transport.h).
// Thread: its loop's.
#pragma once

#include "base/chain.h"
#include <proxycore/result.h>

#include <string_view>

namespace proxycore::io {

using base::Bytes;
using base::Chain;

class Transport {
 public:
  class Owner {
   public:
    // Bytes can flow. Not called for a transport that was open when it was started.
    virtual void on_open() {}
    virtual void on_bytes(Bytes in) = 0;  // `in` lives for the call, its slab while shared
    virtual void on_end() = 0;            // the peer sends no more (FIN)
    virtual void on_writable() = 0;       // after write() left something
    // It broke, or could not be opened. The last call; the transport is of no use any more.
    virtual void on_closed(const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  // Closes; no callback follows.
  virtual ~Transport() = default;
  virtual void start(Owner& owner) = 0;
  virtual void receive(bool on) = 0;  // on after start()
  // Takes what can be sent now off `out`. If something is left, the owner gets on_writable() later
  // and calls write() again; until then `out` may only grow, and must outlive the transport.
  virtual void write(Chain& out) = 0;
  // Sends FIN. Precondition: everything was written.
  virtual void finish() = 0;
  // Makes the destructor reset the connection instead of ending it orderly.
  virtual void abort() = 0;
  // Bytes that write() took and the peer has not confirmed: less than before is progress.
  [[nodiscard]] virtual std::size_t unsent() const noexcept = 0;
  // The protocol negotiated by TLS; "" without.
  [[nodiscard]] virtual std::string_view alpn() const noexcept { return {}; }
  // Whether TLS went on with a session of before.
  [[nodiscard]] virtual bool resumed() const noexcept { return false; }
  // Whether what TLS showed the peer of us holds for `host`, a canonical name; true without TLS.
  [[nodiscard]] virtual bool covers(std::string_view /*host*/) const noexcept { return true; }
};

}  // namespace proxycore::io
