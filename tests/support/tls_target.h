// TlsTarget: a target that speaks TLS, on the loop of the test: it answers every request.
//
// Thread: the test's.
#pragma once

#include "base/chain.h"
#include "io/listener.h"
#include "io/loop.h"
#include "io/socket.h"
#include "support/tls_rig.h"
#include "tls/transport.h"
#include <proxycore/host.h>
#include <proxycore/tls.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

class TlsTarget final : public io::Listener::Owner, public tls::CredentialsSource {
 public:
  // One who has connected.
  class Visitor final : public io::Transport::Owner {
   public:
    Visitor(TlsTarget& target, int fd)
        : target_(target),
          out_(target.loop_.slabs()),
          transport_(target.loop_, *io::Socket::adopt(target.loop_, fd, false), *target.context_,
                     target) {
      transport_.start(*this);
    }
    virtual ~Visitor() = default;
    // Ends without close_notify.
    void cut() { transport_.abort(); }

    [[nodiscard]] bool resumed() const { return transport_.resumed(); }
    [[nodiscard]] std::string name() const { return std::string(transport_.sni()); }
    [[nodiscard]] std::string protocol() const { return std::string(transport_.alpn()); }
    bool opened = false;
    bool ended = false;  // close_notify
    bool closed = false;
    std::string received;

   private:
    void on_open() override { opened = true; }
    void on_bytes(base::Bytes in) override {
      received += in.text();
      if (!received.ends_with(target_.answers_after)) return;
      out_.append(target_.answer);
      transport_.write(out_);
      if (target_.ends) transport_.finish();
    }
    void on_end() override { ended = true; }
    void on_writable() override { transport_.write(out_); }
    void on_closed(const Error&) override { closed = true; }

    TlsTarget& target_;
    base::Chain out_;
    tls::Transport transport_;
  };

  // Visitors say goodbye, by way of the context.
  ~TlsTarget() override { visitors.clear(); }
  explicit TlsTarget(io::Loop& loop,
                     std::shared_ptr<const tls::Credentials> credentials = test_credentials(),
                     TlsConfig config = {})
      : loop_(loop), context_(server_context(config)), credentials_(std::move(credentials)) {
    context_->set_ticket_keys(new_ticket_keys());
    const int fd = *io::listen_on({.address = "127.0.0.1"}, 128, 0);
    port_ = io::bound_port(fd);
    listener_ = std::make_unique<io::Listener>(loop, fd, false, 0, *this);
  }

  [[nodiscard]] Target at(std::string name) const { return {std::move(name), port_}; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

  std::vector<std::unique_ptr<Visitor>> visitors;
  std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  std::string answers_after = "\r\n\r\n";
  bool ends = false;  // after an answer

 private:
  void on_accept(int fd, const io::Address&, io::Listener&) override {
    visitors.push_back(std::make_unique<Visitor>(*this, fd));
  }
  std::shared_ptr<const tls::Credentials> find(std::string_view, tls::CredentialsWaiter&) override {
    return credentials_;
  }

  io::Loop& loop_;
  std::unique_ptr<tls::ServerContext> context_;
  std::shared_ptr<const tls::Credentials> credentials_;
  std::uint16_t port_ = 0;
  std::unique_ptr<io::Listener> listener_;
};

}  // namespace proxycore::test
