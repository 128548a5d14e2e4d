// Credentials: the certificates a handshake may present, and how a transport asks for them.
//
// Immutable and shared by the workers; a connection keeps the ones it was made with.
// Source: RFC 6066 §3. Thread: any; a source and its waiters belong to one worker.
#pragma once

#include "base/list.h"

#include <memory>
#include <string_view>

namespace proxycore::tls {

class Certificate;

// At least one is there; the client's signature algorithms choose if both are.
struct Credentials {
  std::shared_ptr<const Certificate> ecdsa;
  std::shared_ptr<const Certificate> rsa;
  bool fallback = false;  // for want of one that covers the name
};

struct CredentialsTag;

// Told once; destroying it cancels.
class CredentialsWaiter : public base::ListNode<CredentialsTag> {
 public:
  virtual void on_credentials(std::shared_ptr<const Credentials> found) = 0;

 protected:
  ~CredentialsWaiter() = default;
};

class CredentialsSource {
 public:
  virtual ~CredentialsSource() = default;
  // `name`: canonical; empty if the client named none. Null: `later` is told, on a later turn.
  virtual std::shared_ptr<const Credentials> find(std::string_view name,
                                                  CredentialsWaiter& later) = 0;
};

}  // namespace proxycore::tls
