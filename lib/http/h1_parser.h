// H1Parser: takes one HTTP/1.1 message apart: its field section, its chunks, its trailers.
//
// llhttp does the work, in strict mode; this is the only file that knows it. It is used as a pull
// parser: run() returns after each thing found, so that events are given out of no callback of
// llhttp and may stop, pause or end everything. Start lines never reach llhttp (it refuses unknown
// methods and lets odd blanks and versions pass): framing reads them, and llhttp is started
// behind a canned one. Content that is not chunked does not come here either.
// One lives per message being read; H1Parsers keeps those that are free, per worker.
// Source: RFC 9112 §5, §7. Thread: its worker's.
#pragma once

#include "http/codec.h"
#include "http/head.h"

#include <cstdint>
#include <string>
#include <string_view>

#include <llhttp.h>

namespace proxycore::http {

class H1Parser {
 public:
  enum class Step : std::uint8_t {
    more,    // all input is used
    fields,  // `head.fields` is complete
    body,    // body() is a part of the content
    end,     // the content is complete, `trailers` too
    fault,   // fault() tells; nothing more can be read
  };

  // Forgets the message before.
  void begin();
  // The fields of a head follow. `line`: bytes of the start line, which count too.
  void begin_fields(const Limits& limits, std::size_t line);
  // After Step::fields: chunks follow, of at most `content` bytes in all.
  void begin_chunks(std::uint64_t content);
  // Takes what it used off `in`.
  Step run(Bytes& in);

  [[nodiscard]] const Bytes& body() const noexcept { return body_; }
  [[nodiscard]] const Reset& fault() const noexcept { return fault_; }

  std::string line;  // a start line that came in pieces
  Head head;
  Fields trailers;

 private:
  enum class Section : std::uint8_t { fields, chunks, trailers };
  struct Callbacks;  // what llhttp calls

  // A field's name or value: where it lies in the input, or a copy when it came in pieces.
  struct Text {
    std::string_view view = {};
    std::string copy = {};

    void extend(std::string_view piece);
    void keep();  // the input goes away
    void clear() noexcept { view = {}; }
  };

  Step refuse(const Reset& why) noexcept;
  int pause(Step step) noexcept;

  llhttp_t machine_{};
  const Limits* limits_ = nullptr;
  Fields* fields_ = nullptr;  // head.fields, then trailers
  Text name_;
  Text value_;
  Bytes body_;
  Reset fault_;
  std::uint64_t content_left_ = 0;  // of what all chunks may hold
  std::uint64_t chunk_left_ = 0;    // of the chunk being read
  std::size_t budget_ = 0;          // bytes until the section or the chunk line must be over
  std::uint32_t count_ = 0;         // fields so far
  Section section_ = Section::fields;
  Step found_ = Step::more;
};

}  // namespace proxycore::http
