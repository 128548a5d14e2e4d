// EventLog: the connection and the exchange over one codec, as a readable list of what happened.
//
// Parts of content that follow each other become one line, so that the log does not depend on how
// the input was cut. As a server it answers, like an exchange would, after the event has returned:
// call answer() after each feed. Thread: the test's.
#pragma once

#include "http/codec.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::test {

class EventLog final : public http::Codec::Peer, public http::StreamEvents {
 public:
  // `status`: what requests are answered with (101: to an upgrade, else 200); 0: never.
  explicit EventLog(std::uint16_t status = 200) : status_(status) {}

  void watch(http::Codec& codec) { codec_ = &codec; }
  // Sends the response that is due and goes on with the input that waited. Errors are answered at
  // once, within on_reset.
  void answer();

  [[nodiscard]] const std::string& lines() const noexcept { return lines_; }
  // All output so far, taken off the codec.
  const std::string& output();
  [[nodiscard]] http::Stream* stream() noexcept { return stream_; }
  [[nodiscard]] bool receiving() const noexcept { return receiving_; }
  // How often the codec asked to be fed again.
  [[nodiscard]] int resumed() const noexcept { return resumed_; }

  http::StreamEvents& on_stream(http::Stream& opened_by_peer) override;
  void on_output() override {}
  void on_receive(bool on) override {
    receiving_ = on;
    if (on) ++resumed_;
  }

  void on_head(http::Head& head, http::End end) override;
  void on_body(base::Bytes part, http::End end) override;
  void on_trailers(http::Fields& trailers) override;
  void on_sendable() override { line("sendable"); }
  void on_reset(const http::Reset& why) override;

 private:
  void line(std::string_view text);
  void ended();

  http::Codec* codec_ = nullptr;
  http::Stream* stream_ = nullptr;
  std::uint16_t status_;
  std::uint16_t due_ = 0;  // status of the response to send
  bool upgrade_ = false;
  bool in_body_ = false;
  bool receiving_ = true;
  int resumed_ = 0;
  std::string lines_;
  std::string output_;
};

// "a\r\n\x00" with backslashes, for logs and vectors; and back. Line ends in `text` that are not
// written as escapes are left out by unescape().
std::string escape(std::string_view bytes);
std::string unescape(std::string_view text);

}  // namespace proxycore::test
