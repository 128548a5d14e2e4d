// SHA-2's compression functions, which mbedTLS calls for each block.
//
// libcrypto's low-level calls are deprecated, and what replaced them costs ten times a block to set
// up; transcripts, Finished and HKDF consist of short digests.
#define OPENSSL_SUPPRESS_DEPRECATED

#include <cstring>

#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/sha256.h>
#include <mbedtls/sha512.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace {

template <class Context, class State>
int process(State& state, const unsigned char* block,
            void (*transform)(Context*, const unsigned char*)) {
  Context context;
  static_assert(sizeof context.h == sizeof state);
  std::memcpy(context.h, state, sizeof context.h);
  transform(&context, block);
  std::memcpy(state, context.h, sizeof context.h);
  OPENSSL_cleanse(context.h, sizeof context.h);
  return 0;
}

}  // namespace

extern "C" {

int mbedtls_internal_sha256_process(mbedtls_sha256_context* context,
                                    const unsigned char block[64]) {
  return process(context->state, block, SHA256_Transform);
}

int mbedtls_internal_sha512_process(mbedtls_sha512_context* context,
                                    const unsigned char block[128]) {
  return process(context->state, block, SHA512_Transform);
}

}  // extern "C"
