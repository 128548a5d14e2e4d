// The way into mbedTLS: what its dispatch of PSA operations calls a driver, defined as ours.
//
// mbedTLS 3.6 ships that dispatch layer generated, with one slot for a vendor's driver; its own
// example sits there when PSA_CRYPTO_DRIVER_TEST is defined, and is included by this name. So this
// header fills the slot and the sources of mbedTLS stay as they are. What is not ours answers
// PSA_ERROR_NOT_SUPPORTED: mbedTLS then does it itself. An entry point that a later release adds is
// an error when compiling. Included by mbedTLS only, as C.
#pragma once

#include "tls/accel/driver.h"

#define PSA_CRYPTO_DRIVER_PRESENT
#define PSA_CRYPTO_ACCELERATOR_DRIVER_PRESENT
#define PSA_CRYPTO_TEST_DRIVER_LOCATION PROXYCORE_KEY_LOCATION

#define mbedtls_test_transparent_generate_key proxycore_generate_key
#define mbedtls_test_transparent_export_public_key proxycore_export_public_key
#define mbedtls_test_transparent_key_agreement proxycore_key_agreement
#define mbedtls_test_transparent_signature_verify_hash proxycore_verify_hash
#define mbedtls_test_transparent_aead_encrypt proxycore_aead_encrypt
#define mbedtls_test_transparent_aead_decrypt proxycore_aead_decrypt
#define mbedtls_test_opaque_size_function proxycore_opaque_size
#define mbedtls_test_opaque_import_key proxycore_opaque_import_key
#define mbedtls_test_opaque_export_key proxycore_opaque_export_key
#define mbedtls_test_opaque_export_public_key proxycore_opaque_export_public_key
#define mbedtls_test_opaque_signature_sign_hash proxycore_opaque_sign_hash

#define mbedtls_test_transparent_init() PSA_SUCCESS
#define mbedtls_test_transparent_free() ((void)0)
#define mbedtls_test_opaque_init() PSA_SUCCESS
#define mbedtls_test_opaque_free() ((void)0)

#define mbedtls_test_opaque_asymmetric_decrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_asymmetric_encrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_decrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_decrypt_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_encrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_encrypt_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_set_iv(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_cipher_update(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_copy_key(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_generate_key(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_get_builtin_key(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_key_agreement(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_compute(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_sign_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_sign_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_update(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_verify_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_mac_verify_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_signature_sign_message(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_signature_verify_hash(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_opaque_signature_verify_message(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_decrypt_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_encrypt_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_set_lengths(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_set_nonce(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_update(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_update_ad(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_aead_verify(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_asymmetric_decrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_asymmetric_encrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_decrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_decrypt_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_encrypt(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_encrypt_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_set_iv(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_cipher_update(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_hash_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_hash_clone(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_hash_compute(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_hash_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_hash_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_hash_update(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_import_key(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_compute(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_sign_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_sign_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_update(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_verify_finish(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_mac_verify_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_pake_abort(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_pake_get_implicit_key(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_pake_input(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_pake_output(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_pake_setup(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_signature_sign_hash(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_signature_sign_message(...) PSA_ERROR_NOT_SUPPORTED
#define mbedtls_test_transparent_signature_verify_message(...) PSA_ERROR_NOT_SUPPORTED
