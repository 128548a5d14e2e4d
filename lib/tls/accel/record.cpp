#include "tls/accel/record.h"

#include <algorithm>
#include <array>

#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/ssl.h>

namespace proxycore::tls {

int read_record(mbedtls_ssl_context& ssl, std::string_view& plain) {
  // Asking for nothing decrypts the next record and leaves its plaintext where it is.
  const int got = mbedtls_ssl_read(&ssl, nullptr, 0);
  // A session ticket is put aside for the next call, which needs no input.
  if (got == MBEDTLS_ERR_SSL_WANT_READ && ssl.keep_current_message != 0) return 0;
  if (got < 0 || ssl.in_offt == nullptr) return got;
  plain = {reinterpret_cast<const char*>(ssl.in_offt), ssl.in_msglen};
  // What mbedtls_ssl_read() does once all of a record is taken.
  ssl.in_msglen = 0;
  ssl.in_offt = nullptr;
  ssl.keep_current_message = 0;
  return static_cast<int>(plain.size());
}

namespace {

// Where a context builds its records and sends them to.
struct Output {
  unsigned char *buf, *ctr, *hdr, *len, *iv, *msg;
#ifdef MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH
  std::size_t buf_len;
#endif
  mbedtls_ssl_send_t* send;
  void* bio;
};

Output output_of(const mbedtls_ssl_context& ssl) {
  return {ssl.out_buf,     ssl.out_ctr, ssl.out_hdr, ssl.out_len, ssl.out_iv, ssl.out_msg,
#ifdef MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH
          ssl.out_buf_len,
#endif
          ssl.f_send,      ssl.p_bio};
}

void set_output(mbedtls_ssl_context& ssl, const Output& output) {
  ssl.out_buf = output.buf;
  ssl.out_ctr = output.ctr;
  ssl.out_hdr = output.hdr;
  ssl.out_len = output.len;
  ssl.out_iv = output.iv;
  ssl.out_msg = output.msg;
#ifdef MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH
  ssl.out_buf_len = output.buf_len;
#endif
  ssl.f_send = output.send;
  ssl.p_bio = output.bio;
}

int note_size(void* written, const unsigned char* /*record*/, std::size_t size) {
  *static_cast<std::size_t*>(written) = size;
  return static_cast<int>(size);
}

}  // namespace

int write_record(mbedtls_ssl_context& ssl, std::string_view plain, std::span<char> room,
                 std::size_t& written) {
  const Output own = output_of(ssl);
  // What mbedTLS did not get rid of yet comes first; the caller's f_send took everything.
  if (ssl.out_left != 0 || ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER)
    return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;

  constexpr std::size_t header_size = 5;
  auto* const start = reinterpret_cast<unsigned char*>(room.data());
  // An explicit nonce (TLS 1.2, AES-GCM) shifts the text; the context knows by how much, parked or
  // not.
  const std::ptrdiff_t nonce = own.msg - own.iv;
  std::array<unsigned char, 8> sequence{};  // the number as mbedTLS notes it beside each record
  Output aimed = own;
  aimed.buf = aimed.hdr = start;
  aimed.ctr = sequence.data();
  aimed.len = start + 3;
  aimed.iv = start + header_size;
  aimed.msg = aimed.iv + nonce;
#ifdef MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH
  aimed.buf_len = room.size();
#endif
  aimed.send = note_size;
  aimed.bio = &written;

  set_output(ssl, aimed);
  const std::size_t taken = std::min(plain.size(), room.size() - record_overhead);
  const int result =
      mbedtls_ssl_write(&ssl, reinterpret_cast<const unsigned char*>(plain.data()), taken);
  set_output(ssl, own);
  return result;
}

}  // namespace proxycore::tls
