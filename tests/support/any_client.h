// AnyClient: a client of the worker that speaks HTTP/1.1 or HTTP/2, for tests that hold for both.
// H2Client: one that speaks HTTP/2 frame by frame.
//
// Both take turns of the rig's loop while they wait for something. Thread: the test's.
#pragma once

#include "support/h2_frames.h"
#include "support/memory_transport.h"
#include "support/proxy_rig.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

class H2Client final : io::Transport::Owner {
 public:
  // Windows of 64 MiB, so that only what a test is about stops anything.
  explicit H2Client(ProxyRig& rig, std::size_t room = 256 << 10)
      : H2Client(rig, rig.memory_client("h2", room)) {
    send(h2::setting(4, 64 << 20) + h2::window(0, 64 << 20));
  }
  // With the windows that HTTP/2 begins with.
  H2Client(ProxyRig& rig, std::unique_ptr<MemoryTransport> transport)
      : rig_(rig), transport_(std::move(transport)) {
    transport_->start(*this);
    send(h2::preface() + h2::frame(h2::settings, h2::ack, 0));
  }
  H2Client(const H2Client&) = delete;
  H2Client& operator=(const H2Client&) = delete;
  ~H2Client() = default;

  void send(std::string_view frames) {
    out_.append(frames);
    transport_->write(out_);
  }
  [[nodiscard]] bool sent() const noexcept { return out_.empty(); }
  void send_end() { transport_->finish(); }
  void close() { transport_.reset(); }
  void stop_reading() { transport_->receive(false); }
  void read_on() { transport_->receive(true); }

  // The response on that stream, once it has come to its end, or a reset.
  const h2::Reader::Message& response(std::uint32_t stream) {
    rig_.until([&] { return in.messages[stream].ended || in.messages[stream].reset || gone; });
    return in.messages[stream];
  }
  // Whether the connection ends, after all that was sent.
  bool ends() {
    rig_.until([&] { return gone; });
    return true;
  }

  h2::Reader in;
  bool gone = false;
  bool was_reset = false;

 private:
  void on_bytes(base::Bytes bytes) override { in.feed(bytes.text()); }
  void on_end() override { gone = true; }
  void on_writable() override { transport_->write(out_); }
  void on_closed(const Error& /*why*/) override { gone = was_reset = true; }

  ProxyRig& rig_;
  base::Chain out_{rig_.worker().loop().slabs()};
  std::unique_ptr<MemoryTransport> transport_;
};

struct AnyAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case; and trailers
  std::string body;
  bool whole = true;  // it came to its end

  [[nodiscard]] std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return "-";
  }
};

class AnyClient {
 public:
  AnyClient(ProxyRig& rig, bool http2);

  struct Ask {
    std::string_view method = "GET";
    std::string_view target = "/";
    std::string_view host = "a.test";
    h2::Lines fields = {};
    std::string_view body = {};
    bool length = true;  // the body's is known
  };
  void ask(const Ask& ask);
  // The response to the last request; interim ones are counted.
  AnyAnswer answer();

  int interim = 0;

 private:
  AnyAnswer answer_h1();

  ProxyRig& rig_;
  std::unique_ptr<Peer> h1_;
  std::unique_ptr<H2Client> h2_;
  std::uint32_t stream_ = 0;
  std::string method_;
};

}  // namespace proxycore::test
