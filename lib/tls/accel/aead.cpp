// Records: AES-GCM (RFC 5288, RFC 8446) and ChaCha20-Poly1305, a whole record at a time.
#include "tls/accel/driver.h"
#include "tls/accel/evp.h"
#include "tls/accel/providers.h"

#include <climits>
#include <cstring>

#include <openssl/crypto.h>
#ifdef PROXYCORE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace proxycore::tls {

namespace {

constexpr std::size_t nonce_size = 12;
constexpr std::size_t tag_size = 16;

Cipher cipher_of(const psa_key_attributes_t* attributes, psa_algorithm_t alg,
                 std::size_t key_length) {
  const psa_key_type_t type = psa_get_key_type(attributes);
  if (type == PSA_KEY_TYPE_AES && alg == PSA_ALG_GCM && key_length == 16)
    return Cipher::aes_128_gcm;
  if (type == PSA_KEY_TYPE_AES && alg == PSA_ALG_GCM && key_length == 32)
    return Cipher::aes_256_gcm;
  if (type == PSA_KEY_TYPE_CHACHA20 && alg == PSA_ALG_CHACHA20_POLY1305)
    return Cipher::chacha20_poly1305;
  return Cipher::other;
}

#ifdef PROXYCORE_IPSEC_MB

// Null on processors where libcrypto's AES-GCM is as fast.
IMB_MGR* wide_gcm() {
  static IMB_MGR* const manager = []() -> IMB_MGR* {
    IMB_MGR* const made = alloc_mb_mgr(0);
    if (made == nullptr) return nullptr;
    init_mb_mgr_auto(made, nullptr);
    constexpr std::uint64_t wanted =
        IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
    if (imb_get_errno(made) == 0 && (made->features & wanted) == wanted) return made;
    free_mb_mgr(made);
    return nullptr;
  }();
  return manager;
}

// The expanded key lives for one record, so there is nothing to wipe when a connection ends.
struct GcmKey {
  explicit GcmKey(const Job& job) {
    (job.cipher == Cipher::aes_128_gcm ? wide_gcm()->gcm128_pre : wide_gcm()->gcm256_pre)(job.key,
                                                                                          &data);
  }
  GcmKey(const GcmKey&) = delete;
  GcmKey& operator=(const GcmKey&) = delete;
  ~GcmKey() { OPENSSL_cleanse(&data, sizeof data); }
  gcm_key_data data;
};

void wide_seal(const Job& job, std::uint8_t* tag) {
  const GcmKey key(job);
  gcm_context_data context;
  (job.cipher == Cipher::aes_128_gcm ? wide_gcm()->gcm128_enc : wide_gcm()->gcm256_enc)(
      &key.data, &context, job.out, job.in, job.size, job.nonce, job.ad, job.ad_size, tag,
      tag_size);
}

psa_status_t wide_open(const Job& job, const std::uint8_t* tag) {
  const GcmKey key(job);
  gcm_context_data context;
  std::uint8_t computed[tag_size];
  (job.cipher == Cipher::aes_128_gcm ? wide_gcm()->gcm128_dec : wide_gcm()->gcm256_dec)(
      &key.data, &context, job.out, job.in, job.size, job.nonce, job.ad, job.ad_size, computed,
      tag_size);
  const bool right = CRYPTO_memcmp(computed, tag, tag_size) == 0;
  OPENSSL_cleanse(computed, sizeof computed);
  return right ? PSA_SUCCESS : PSA_ERROR_INVALID_SIGNATURE;
}

#else

const void* wide_gcm() {
  return nullptr;
}
void wide_seal(const Job& /*job*/, std::uint8_t* /*tag*/) {}
psa_status_t wide_open(const Job& /*job*/, const std::uint8_t* /*tag*/) {
  return PSA_ERROR_NOT_SUPPORTED;
}

#endif

// Fetched once: EVP_aes_128_gcm() and its like look the implementation up for every record.
const EVP_CIPHER* evp_cipher(Cipher cipher) {
  static EVP_CIPHER* const aes_128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static EVP_CIPHER* const aes_256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  static EVP_CIPHER* const chacha20 = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  if (cipher == Cipher::chacha20_poly1305) return chacha20;
  return cipher == Cipher::aes_128_gcm ? aes_128 : aes_256;
}

using EvpCipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeBy<EVP_CIPHER_CTX_free>>;

// Of this thread; what it holds of a record's key is wiped with it.
class EvpRun {
 public:
  EvpRun() {
    thread_local const EvpCipherContext of_this_thread(EVP_CIPHER_CTX_new());
    context_ = of_this_thread.get();
  }
  EvpRun(const EvpRun&) = delete;
  EvpRun& operator=(const EvpRun&) = delete;
  ~EvpRun() { EVP_CIPHER_CTX_reset(context_); }

  // Everything but the tag. `direction`: 1 encrypts, 0 decrypts.
  bool text(const Job& job, int direction) {
    int done = 0;
    return context_ != nullptr &&
           EVP_CipherInit_ex2(context_, evp_cipher(job.cipher), job.key, job.nonce, direction,
                              nullptr) == 1 &&
           (job.ad_size == 0 || EVP_CipherUpdate(context_, nullptr, &done, job.ad,
                                                 static_cast<int>(job.ad_size)) == 1) &&
           (job.size == 0 ||
            EVP_CipherUpdate(context_, job.out, &done, job.in, static_cast<int>(job.size)) == 1);
  }
  bool finish(const Job& job) {
    int rest = 0;
    return EVP_CipherFinal_ex(context_, job.out + job.size, &rest) == 1;
  }
  bool tag(int command, std::uint8_t* tag) {
    return EVP_CIPHER_CTX_ctrl(context_, command, tag_size, tag) == 1;
  }

 private:
  EVP_CIPHER_CTX* context_;
};

psa_status_t evp_seal(const Job& job, std::uint8_t* tag) {
  EvpRun run;
  const bool made = run.text(job, 1) && run.finish(job) && run.tag(EVP_CTRL_AEAD_GET_TAG, tag);
  return made ? PSA_SUCCESS : evp_failed(PSA_ERROR_GENERIC_ERROR);
}

psa_status_t evp_open(const Job& job, const std::uint8_t* tag) {
  EvpRun run;
  std::uint8_t expected[tag_size];
  std::memcpy(expected, tag, tag_size);
  if (!run.text(job, 0)) return evp_failed(PSA_ERROR_GENERIC_ERROR);
  const bool right = run.tag(EVP_CTRL_AEAD_SET_TAG, expected) && run.finish(job);
  return right ? PSA_SUCCESS : evp_failed(PSA_ERROR_INVALID_SIGNATURE);
}

bool too_long(std::size_t ad_size, std::size_t size) {
  return ad_size > INT_MAX || size > INT_MAX;
}

}  // namespace

Aead best_aead(Cipher cipher) {
  const bool gcm = cipher == Cipher::aes_128_gcm || cipher == Cipher::aes_256_gcm;
  return gcm && wide_gcm() != nullptr ? Aead::ipsec_mb : Aead::libcrypto;
}

psa_status_t seal(Aead by, const Job& job, std::uint8_t* tag) {
  if (by == Aead::libcrypto) return evp_seal(job, tag);
  wide_seal(job, tag);
  return PSA_SUCCESS;
}

psa_status_t open(Aead by, const Job& job, const std::uint8_t* tag) {
  const psa_status_t status = by == Aead::libcrypto ? evp_open(job, tag) : wide_open(job, tag);
  // What was decrypted before the tag was known to be wrong is nobody's business.
  if (status != PSA_SUCCESS) OPENSSL_cleanse(job.out, job.size);
  return status;
}

}  // namespace proxycore::tls

using namespace proxycore::tls;

extern "C" {

psa_status_t proxycore_aead_encrypt(const psa_key_attributes_t* attributes, const uint8_t* key,
                                    size_t key_length, psa_algorithm_t alg, const uint8_t* nonce,
                                    size_t nonce_length, const uint8_t* ad, size_t ad_length,
                                    const uint8_t* plain, size_t plain_length, uint8_t* cipher,
                                    size_t cipher_size, size_t* cipher_length) {
  const Job job{cipher_of(attributes, alg, key_length),
                key,
                nonce,
                ad,
                ad_length,
                plain,
                plain_length,
                cipher};
  if (job.cipher == Cipher::other || nonce_length != nonce_size ||
      too_long(ad_length, plain_length))
    return PSA_ERROR_NOT_SUPPORTED;
  if (cipher_size < tag_size || cipher_size - tag_size < plain_length)
    return PSA_ERROR_BUFFER_TOO_SMALL;
  *cipher_length = plain_length + tag_size;
  return seal(best_aead(job.cipher), job, cipher + plain_length);
}

psa_status_t proxycore_aead_decrypt(const psa_key_attributes_t* attributes, const uint8_t* key,
                                    size_t key_length, psa_algorithm_t alg, const uint8_t* nonce,
                                    size_t nonce_length, const uint8_t* ad, size_t ad_length,
                                    const uint8_t* cipher, size_t cipher_length, uint8_t* plain,
                                    size_t plain_size, size_t* plain_length) {
  const std::size_t size = cipher_length < tag_size ? 0 : cipher_length - tag_size;
  const Job job{
      cipher_of(attributes, alg, key_length), key, nonce, ad, ad_length, cipher, size, plain};
  if (job.cipher == Cipher::other || nonce_length != nonce_size || too_long(ad_length, size))
    return PSA_ERROR_NOT_SUPPORTED;
  if (cipher_length < tag_size) return PSA_ERROR_INVALID_ARGUMENT;
  if (plain_size < size) return PSA_ERROR_BUFFER_TOO_SMALL;
  *plain_length = size;
  return open(best_aead(job.cipher), job, cipher + size);
}

}  // extern "C"
