#include "tls/accel/start.h"

#include <thread>

#include <doctest/doctest.h>
#include <psa/crypto.h>

using namespace proxycore::tls;

TEST_CASE("start: cryptography is there after it, whoever comes first") {
  std::thread other([] { start_crypto(); });
  start_crypto();
  other.join();
  unsigned char byte = 0;
  CHECK(psa_generate_random(&byte, 1) == 0);
}
