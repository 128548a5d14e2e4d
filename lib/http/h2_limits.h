// h2_limits: how much one HTTP/2 connection may make us do for nothing.
//
// A frame of a few bytes can cost a request that is thrown away at once, an answer that nobody
// reads, or plain work. All of that is paid from one budget per connection, which fills up again
// with time; who has spent it gets GOAWAY with ENHANCE_YOUR_CALM. The clock is asked only when the
// budget is empty, never for a connection that behaves.
// Source: RFC 9113 §10.5; CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2025-8671. Not here: sizes of
// messages (Limits). Thread: its worker's.
#pragma once

#include "base/metrics.h"

#include <cstddef>
#include <cstdint>

namespace proxycore::http {

// What a peer does that is of no use to it or to us.
enum class Waste : std::uint8_t {
  request,  // a request that ended before its response began: by the client's reset, or by ours
            // over what the client sent
  control,  // a frame that has to be answered, PING or SETTINGS, or a reset of what has ended
  frame,    // a frame that changes nothing: PRIORITY, unknown, without content, a tiny window
};

std::int64_t steady_millis() noexcept;

struct H2Limits {
  std::uint32_t streams = 128;      // open at a time
  std::uint32_t continuations = 8;  // CONTINUATION frames of one header block
  // A header list may be so many times Limits::header_size and is refused alone; beyond, it is
  // taken for an attack on the decoder.
  std::uint32_t header_list_factor = 4;
  std::size_t queued_frames = 1'000;    // of our own, that wait for the peer to read
  std::uint32_t streams_in_drain = 64;  // still served after the first GOAWAY
  // The budget: 200 requests at once and 20 a second, 1000 control frames, or 5000 others.
  std::int64_t budget = 10'000;
  std::int64_t refill = 1'000;  // a second
  std::int64_t (*clock)() noexcept = &steady_millis;
};

class H2Budget {
 public:
  explicit H2Budget(const H2Limits& limits) noexcept
      : limits_(limits), left_(limits.budget), filled_(limits.clock()) {}

  // false: there is not enough left.
  [[nodiscard]] bool spend(Waste what) noexcept;

 private:
  const H2Limits& limits_;
  std::int64_t left_;
  std::int64_t filled_;  // when, in milliseconds
};

// What a worker's HTTP/2 codecs count. Thread: read on any.
struct H2Counters {
  base::Counter connections;
  base::Counter streams;
  base::Counter abuse;   // connections ended for what H2Limits forbids
  base::Counter errors;  // connections ended for another violation of the protocol
};

}  // namespace proxycore::http
