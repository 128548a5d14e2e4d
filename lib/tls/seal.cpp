#include "tls/seal.h"

#include "tls/accel/random.h"
#include "tls/accel/start.h"

#include <utility>

#include <psa/crypto.h>

namespace proxycore::tls {

namespace {
constexpr std::size_t nonce_size = 12;
constexpr std::size_t tag_size = 16;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

Error failed(psa_status_t status) {
  return {Errc::io, "seal: PSA status " + std::to_string(status)};
}

// A key inside PSA, for as long as it lives.
class Imported {
 public:
  static Result<Imported> create(std::string_view key) {
    if (key.size() != seal_key_size) return Error{Errc::invalid, "expected a key of 32 bytes"};
    start_crypto();
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);
    psa_set_key_algorithm(&attributes, PSA_ALG_GCM);
    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_bits(&attributes, 8 * seal_key_size);
    psa_key_id_t id = PSA_KEY_ID_NULL;
    const psa_status_t status = psa_import_key(&attributes, bytes_of(key), key.size(), &id);
    if (status != PSA_SUCCESS) return failed(status);
    return Imported(id);
  }
  Imported(Imported&& other) noexcept : id_(std::exchange(other.id_, PSA_KEY_ID_NULL)) {}
  Imported(const Imported&) = delete;
  Imported& operator=(const Imported&) = delete;
  ~Imported() { psa_destroy_key(id_); }

  [[nodiscard]] psa_key_id_t id() const noexcept { return id_; }

 private:
  explicit Imported(psa_key_id_t id) : id_(id) {}
  psa_key_id_t id_;
};

}  // namespace

Result<std::string> generate_seal_key() {
  std::string key(seal_key_size, '\0');
  if (random_bytes(nullptr, bytes_of(key), key.size()) != 0) {
    return Error{Errc::io, "seal key: no random bytes"};
  }
  return key;
}

Result<std::string> seal(std::string_view key, std::string_view plain, std::string_view place) {
  PX_TRY(const Imported imported, Imported::create(key));
  std::string sealed(nonce_size + plain.size() + tag_size, '\0');
  if (random_bytes(nullptr, bytes_of(sealed), nonce_size) != 0) {
    return Error{Errc::io, "seal: no random bytes"};
  }
  std::size_t size = 0;
  const psa_status_t status =
      psa_aead_encrypt(imported.id(), PSA_ALG_GCM, bytes_of(sealed), nonce_size, bytes_of(place),
                       place.size(), bytes_of(plain), plain.size(), bytes_of(sealed) + nonce_size,
                       sealed.size() - nonce_size, &size);
  if (status != PSA_SUCCESS) return failed(status);
  return sealed;
}

Result<std::string> unseal(std::string_view key, std::string_view sealed, std::string_view place) {
  PX_TRY(const Imported imported, Imported::create(key));
  const Error other{Errc::invalid, "was not sealed with this key, or not for this place"};
  if (sealed.size() < nonce_size + tag_size) return other;
  std::string plain(sealed.size() - nonce_size - tag_size, '\0');
  std::size_t size = 0;
  const std::string_view content = sealed.substr(nonce_size);
  const psa_status_t status = psa_aead_decrypt(
      imported.id(), PSA_ALG_GCM, bytes_of(sealed), nonce_size, bytes_of(place), place.size(),
      bytes_of(content), content.size(), bytes_of(plain), plain.size(), &size);
  if (status == PSA_ERROR_INVALID_SIGNATURE) return other;
  if (status != PSA_SUCCESS) return failed(status);
  return plain;
}

}  // namespace proxycore::tls
