// H2Parts: what is behind an H2Memory: nghttp2's allocator, its callbacks and options, and what
// codecs borrow.
//
// Not here: how blocks are kept (h2_heap). Owner: H2Memory. Thread: its worker's.
#pragma once

#include "base/chain.h"
#include "base/list.h"
#include "http/h2_head.h"
#include "http/h2_heap.h"
#include "http/h2_memory.h"
#include "http/h2_stream.h"

#include <memory>
#include <vector>

#include <nghttp2/nghttp2.h>

namespace proxycore::http {

struct H2Parts {
  explicit H2Parts(base::Slabs& with);
  H2Parts(const H2Parts&) = delete;
  H2Parts& operator=(const H2Parts&) = delete;
  ~H2Parts();

  base::Slabs& slabs;
  H2Heap heap;
  nghttp2_mem mem;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* options = nullptr;
  std::vector<std::unique_ptr<H2Stream>> streams;  // all of them
  base::List<H2Stream, H2DueTag> free;
  std::vector<std::unique_ptr<H2Block>> blocks;
  H2Lines lines;
};

}  // namespace proxycore::http
