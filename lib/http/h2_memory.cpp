#include "http/h2_memory.h"

#include "http/h2_callbacks.h"
#include "http/h2_parts.h"

#include <cstring>

namespace proxycore::http {

namespace {

// Response heads may be longer than what nghttp2 writes by default.
constexpr std::size_t max_head_sent = 1 << 20;

}  // namespace

H2Parts::H2Parts(base::Slabs& with) : slabs(with) {
  mem.mem_user_data = &heap;
  mem.malloc = [](std::size_t size, void* from) { return static_cast<H2Heap*>(from)->take(size); };
  mem.free = [](void* block, void* to) { static_cast<H2Heap*>(to)->give_back(block); };
  mem.calloc = [](std::size_t count, std::size_t size, void* from) {
    void* const block = static_cast<H2Heap*>(from)->take(count * size);
    std::memset(block, 0, count * size);
    return block;
  };
  mem.realloc = [](void* block, std::size_t size, void* from) {
    return static_cast<H2Heap*>(from)->resize(block, size);
  };
  nghttp2_session_callbacks_new(&callbacks);
  H2Callbacks::install(callbacks);
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_closed_streams(options, 1);
  for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; ++type) {
    nghttp2_option_set_user_recv_extension_type(options, static_cast<std::uint8_t>(type));
  }
  nghttp2_option_set_max_send_header_block_length(options, max_head_sent);
#ifdef PROXYCORE_NGHTTP2_COUNTS_CONTINUATIONS
  // Where nghttp2 has a limit of its own, it counts every read of a piece of a frame's head.
  nghttp2_option_set_max_continuations(options, 1000);
#endif
}

H2Parts::~H2Parts() {
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(options);
}

H2Memory::H2Memory(base::Slabs& slabs, H2Counters& counters)
    : counters_(counters), parts_(std::make_unique<H2Parts>(slabs)) {}

H2Memory::~H2Memory() = default;

std::size_t H2Memory::used() const noexcept {
  return parts_->heap.used();
}

}  // namespace proxycore::http
