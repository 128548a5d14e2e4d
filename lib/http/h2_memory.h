// H2Memory: what a worker's HTTP/2 codecs share: memory for nghttp2, free streams, counters.
//
// Outlives them. What is in it is for the codecs alone (h2_parts). Thread: its worker's.
#pragma once

#include "base/chain.h"
#include "http/h2_limits.h"

#include <cstddef>
#include <memory>

namespace proxycore::http {

struct H2Parts;

class H2Memory {
 public:
  H2Memory(base::Slabs& slabs, H2Counters& counters);
  H2Memory(const H2Memory&) = delete;
  H2Memory& operator=(const H2Memory&) = delete;
  ~H2Memory();

  [[nodiscard]] H2Counters& counters() noexcept { return counters_; }
  [[nodiscard]] H2Parts& parts() noexcept { return *parts_; }
  // Bytes that nghttp2 holds now, for all codecs.
  [[nodiscard]] std::size_t used() const noexcept;

 private:
  H2Counters& counters_;
  std::unique_ptr<H2Parts> parts_;
};

}  // namespace proxycore::http
