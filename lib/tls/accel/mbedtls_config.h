// What mbedTLS is built with when tls_accel puts a driver under it, on top of ../mbedtls_config.h.
//
// Not here: the driver (driver.h) and how it gets in (slot/). Included by mbedTLS and by everything
// that includes mbedTLS's headers: the layout of its types depends on it.
#pragma once

#include "tls/mbedtls_config.h"

// The slot for a vendor's driver in the dispatch of PSA operations, which we fill.
#define PSA_CRYPTO_DRIVER_TEST
// Records are not copied to and fro around each operation: nobody else writes into them meanwhile.
#define MBEDTLS_PSA_ASSUME_EXCLUSIVE_BUFFERS
// random.h, which has nothing to seed and no lock.
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
// The compression functions only (sha2.cpp): digests are too short for the cost of a call to EVP.
#define MBEDTLS_SHA256_PROCESS_ALT
#define MBEDTLS_SHA512_PROCESS_ALT
