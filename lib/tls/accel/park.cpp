#include "tls/accel/park.h"

#include "tls/accel/leftovers.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>

namespace proxycore::tls {

#ifdef PROXYCORE_BUNDLED_MBEDTLS

namespace {

// The record buffers that no connection of this thread needs now; as many as keep a busy one
// supplied.
class Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    while (count_ > 0) mbedtls_free(free_[--count_]);
  }

  unsigned char* take() {
    if (count_ > 0) return free_[--count_];
    auto* const fresh =
        static_cast<unsigned char*>(mbedtls_calloc(1, proxycore_record_buffer_size));
    if (fresh == nullptr) std::abort();
    return fresh;
  }

  // Wiped here: a fresh buffer is zeroes too, and plaintext has no business in the next connection.
  void put(unsigned char* buffer, std::size_t size) noexcept {
    mbedtls_platform_zeroize(buffer, size);
    if (size == proxycore_record_buffer_size && count_ < free_.size())
      free_[count_++] = buffer;
    else
      mbedtls_free(buffer);
  }

 private:
  std::array<unsigned char*, 64> free_{};
  std::size_t count_ = 0;
};

Pool& pool() {
  thread_local Pool of_this_thread;
  return of_this_thread;
}

constexpr std::size_t sequence_size = 8;  // of what the input buffer begins with

template <class... Pointers>
void move(const unsigned char* from, const unsigned char* to, Pointers&... pointers) {
  const auto shift = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
  const auto moved = [shift](unsigned char* pointer) {
    const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(pointer) + shift;
    // As numbers: one end of the move may be no buffer at all.
    return reinterpret_cast<unsigned char*>(place);  // NOLINT(performance-no-int-to-ptr)
  };
  ((pointers = moved(pointers)), ...);
}

// Pointers into a buffer that is not there are offsets.
void set_in(mbedtls_ssl_context& ssl, unsigned char* to, std::size_t size) {
  std::memcpy(to, ssl.in_buf, sequence_size);
  move(ssl.in_buf, to, ssl.in_ctr, ssl.in_hdr, ssl.in_len, ssl.in_iv, ssl.in_msg);
  ssl.in_buf = to;
  ssl.in_buf_len = size;
}

void set_out(mbedtls_ssl_context& ssl, unsigned char* to, std::size_t size) {
  move(ssl.out_buf, to, ssl.out_ctr, ssl.out_hdr, ssl.out_len, ssl.out_iv, ssl.out_msg);
  ssl.out_buf = to;
  ssl.out_buf_len = size;
}

// Nothing half read, nothing read and not taken yet, nothing to be sent.
bool between_records(const mbedtls_ssl_context& ssl) {
  // The last message of the handshake counts as read before mbedTLS notices.
  const bool taken = ssl.in_hslen == 0 || ssl.in_hslen == ssl.in_msglen;
  return taken && ssl.in_left == 0 && ssl.in_offt == nullptr && ssl.keep_current_message == 0 &&
         ssl.badmac_seen_or_in_hsfraglen == 0 && ssl.out_left == 0 && ssl.send_alert == 0;
}

}  // namespace

bool park(mbedtls_ssl_context& ssl) {
  if (ssl.out_buf == nullptr) return true;
  if (!between_records(ssl)) return false;
  ssl.in_hslen = ssl.in_msglen = 0;
  if (ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER) proxycore_free_leftovers(&ssl);

  // What stays of the input is the sequence number, which mbedTLS keeps in the buffer.
  auto* const sequence = static_cast<unsigned char*>(mbedtls_calloc(1, sequence_size));
  if (sequence == nullptr) std::abort();
  unsigned char* const in = ssl.in_buf;
  const std::size_t in_size = ssl.in_buf_len;
  set_in(ssl, sequence, sequence_size);
  pool().put(in, in_size);

  unsigned char* const out = ssl.out_buf;
  const std::size_t out_size = ssl.out_buf_len;
  set_out(ssl, nullptr, 0);
  pool().put(out, out_size);
  return true;
}

void unpark(mbedtls_ssl_context& ssl) {
  if (ssl.out_buf != nullptr) return;
  proxycore_stand_in_handshake(&ssl);
  unsigned char* const sequence = ssl.in_buf;
  set_in(ssl, pool().take(), proxycore_record_buffer_size);
  mbedtls_free(sequence);
  set_out(ssl, pool().take(), proxycore_record_buffer_size);
}

#else

bool park(mbedtls_ssl_context& /*ssl*/) {
  return false;
}
void unpark(mbedtls_ssl_context& /*ssl*/) {}

#endif

}  // namespace proxycore::tls
