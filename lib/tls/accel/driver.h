// The PSA driver: what mbedTLS calls instead of its own portable code (built with tls_accel).
//
// Transparent functions get keys as bytes, and answer PSA_ERROR_NOT_SUPPORTED where mbedTLS is to
// do it itself; the opaque ones know a private key by a handle (private_key.h makes such keys).
// libcrypto does the work, with libsodium for X25519 and intel-ipsec-mb for AES-GCM where they are
// there. C and C++: slot/test/drivers/test_driver.h puts it into mbedTLS, which calls it; nobody
// else does. Source: the PSA Cryptoprocessor Driver Interface 1.0. Thread: any.
#pragma once

#include <psa/crypto.h>
#include <stddef.h>
#include <stdint.h>

#define PROXYCORE_KEY_LOCATION 0x7fffff

#ifdef __cplusplus
extern "C" {
#endif

// ecdh.cpp: X25519 and P-256 key pairs, ECDH.
psa_status_t proxycore_generate_key(const psa_key_attributes_t* attributes, uint8_t* key,
                                    size_t key_size, size_t* key_length);
psa_status_t proxycore_export_public_key(const psa_key_attributes_t* attributes, const uint8_t* key,
                                         size_t key_length, uint8_t* data, size_t data_size,
                                         size_t* data_length);
psa_status_t proxycore_key_agreement(const psa_key_attributes_t* attributes, const uint8_t* key,
                                     size_t key_length, psa_algorithm_t alg, const uint8_t* peer,
                                     size_t peer_length, uint8_t* secret, size_t secret_size,
                                     size_t* secret_length);

// signature.cpp: ECDSA by P-256 and P-384 public keys.
psa_status_t proxycore_verify_hash(const psa_key_attributes_t* attributes, const uint8_t* key,
                                   size_t key_length, psa_algorithm_t alg, const uint8_t* hash,
                                   size_t hash_length, const uint8_t* signature,
                                   size_t signature_length);

// aead.cpp: AES-GCM and ChaCha20-Poly1305 with nonces of 12 bytes and tags of 16.
psa_status_t proxycore_aead_encrypt(const psa_key_attributes_t* attributes, const uint8_t* key,
                                    size_t key_length, psa_algorithm_t alg, const uint8_t* nonce,
                                    size_t nonce_length, const uint8_t* ad, size_t ad_length,
                                    const uint8_t* plain, size_t plain_length, uint8_t* cipher,
                                    size_t cipher_size, size_t* cipher_length);
psa_status_t proxycore_aead_decrypt(const psa_key_attributes_t* attributes, const uint8_t* key,
                                    size_t key_length, psa_algorithm_t alg, const uint8_t* nonce,
                                    size_t nonce_length, const uint8_t* ad, size_t ad_length,
                                    const uint8_t* cipher, size_t cipher_length, uint8_t* plain,
                                    size_t plain_size, size_t* plain_length);

// opaque_key.cpp: a key's bytes are an EVP_PKEY*, which whoever imports it owns and outlives it
// with. Exporting gives it back.
size_t proxycore_opaque_size(psa_key_type_t type, size_t bits);
psa_status_t proxycore_opaque_import_key(const psa_key_attributes_t* attributes,
                                         const uint8_t* data, size_t data_length, uint8_t* key,
                                         size_t key_size, size_t* key_length, size_t* bits);
psa_status_t proxycore_opaque_export_key(const psa_key_attributes_t* attributes, const uint8_t* key,
                                         size_t key_length, uint8_t* data, size_t data_size,
                                         size_t* data_length);
psa_status_t proxycore_opaque_export_public_key(const psa_key_attributes_t* attributes,
                                                const uint8_t* key, size_t key_length,
                                                uint8_t* data, size_t data_size,
                                                size_t* data_length);
psa_status_t proxycore_opaque_sign_hash(const psa_key_attributes_t* attributes, const uint8_t* key,
                                        size_t key_length, psa_algorithm_t alg, const uint8_t* hash,
                                        size_t hash_length, uint8_t* signature,
                                        size_t signature_size, size_t* signature_length);

#ifdef __cplusplus
}
#endif
