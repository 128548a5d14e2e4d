// H2Log: the connection and the exchanges over one HTTP/2 codec, as a readable list of events.
//
// Every line begins with the number of the stream, counted from 1 as they were opened. A server
// answers each request with "ok" once it has come to its end, if told so. Thread: the test's.
#pragma once

#include "http/codec.h"
#include "support/event_log.h"
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

class H2Log final : public http::Codec::Peer {
 public:
  class Sink final : public http::StreamEvents {
   public:
    Sink(H2Log& log, std::size_t number) : log_(log), number_(number) {}
    virtual ~Sink() = default;

    void on_head(http::Head& head, http::End end) override {
      std::string text = head.is_request()
                             ? head.method + " " + head.target + " at '" + head.authority + "'"
                             : std::to_string(head.status);
      static constexpr const char* framings[] = {"none", "length", "chunked", "until close"};
      text.append(" ").append(framings[static_cast<int>(head.framing)]);
      if (head.framing == http::Framing::length) text += " " + std::to_string(head.content_length);
      for (const http::Fields::Field field : head.fields) {
        text.append(", ").append(field.name).append(": ").append(escape(field.value));
      }
      line(text);
      method = head.method;
      if (on_request) on_request(*this);
      if (end == http::End::yes) ended();
    }
    void on_body(base::Bytes part, http::End end) override {
      body.append(part.text());
      if (end == http::End::yes) {
        line("content " + (body.size() > 100 ? std::to_string(body.size()) : escape(body)));
        ended();
      } else if (on_part) {
        on_part(*this);
      }
    }
    void on_trailers(http::Fields& trailers) override {
      line("content " + escape(body));
      for (const http::Fields::Field field : trailers) {
        line("trailer " + std::string{field.name} + ": " + escape(field.value));
      }
      ended();
    }
    void on_sendable() override {
      ++sendable;
      if (on_room) on_room(*this);
    }
    void on_reset(const http::Reset& why) override {
      line("reset " + std::string{name_of(why.code)} + " " + std::to_string(why.status) + ": " +
           std::string{why.detail});
      reset = true;
      if (why.status == 0 || !log_.role_is_server) return;
      http::Head head;
      head.status = why.status;
      stream->send_head(head, http::End::yes);
    }

    http::Stream* stream = nullptr;
    std::string method;
    std::string body;
    bool done = false;
    bool reset = false;
    int sendable = 0;
    std::function<void(Sink&)> on_request = {};
    std::function<void(Sink&)> on_part = {};
    std::function<void(Sink&)> on_room = {};

   private:
    void line(const std::string& text) {
      log_.lines_ += std::to_string(number_) + ": " + text + "\n";
    }
    void ended() {
      line("end");
      done = true;
      if (log_.answers && log_.role_is_server) log_.answer(*this);
    }

    H2Log& log_;
    std::size_t number_;
  };

  explicit H2Log(bool answers_all = true) : answers(answers_all) {}

  void answer(Sink& sink, std::string_view body = "ok") const {
    http::Head head;
    head.status = 200;
    head.framing = http::Framing::length;
    head.content_length = body.size();
    sink.stream->send_head(head, http::End::no);
    sink.stream->send_body(body, http::End::yes);
  }

  Sink& add() {
    sinks.push_back(std::make_unique<Sink>(*this, sinks.size() + 1));
    return *sinks.back();
  }
  http::StreamEvents& on_stream(http::Stream& opened) override {
    Sink& sink = add();
    sink.stream = &opened;
    if (on_new) on_new(sink);
    return sink;
  }
  void on_output() override { output_asked = true; }
  void on_receive(bool on) override {
    if (on) output_asked = true;
  }

  // What came since the last call.
  std::string lines() { return std::exchange(lines_, {}); }

  bool answers;
  bool role_is_server = true;
  bool output_asked = false;
  std::vector<std::unique_ptr<Sink>> sinks;
  std::function<void(Sink&)> on_new = {};

 private:
  std::string lines_;
};

}  // namespace proxycore::test
