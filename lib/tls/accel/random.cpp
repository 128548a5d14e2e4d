#include "tls/accel/random.h"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <sys/mman.h>
#include <sys/random.h>

#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <psa/crypto.h>

namespace proxycore::tls {

namespace {

bool ask_kernel(unsigned char* out, std::size_t size) noexcept {
  while (size > 0) {
    const ssize_t got = getrandom(out, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

// A thread's supply. What says how much is left lies in the page that is wiped, too.
class Supply {
 public:
  Supply() noexcept {
    void* const page =
        ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (::madvise(page, sizeof(Page), MADV_WIPEONFORK) == 0) {
      page_ = static_cast<Page*>(page);
    } else {
      ::munmap(page, sizeof(Page));
    }
  }
  Supply(const Supply&) = delete;
  Supply& operator=(const Supply&) = delete;
  ~Supply() {
    if (page_ == nullptr) return;
    mbedtls_platform_zeroize(page_, sizeof(Page));
    ::munmap(page_, sizeof(Page));
    page_ = nullptr;  // should another object of the thread ask when this has gone
  }

  // What it has no room for comes from the kernel each time.
  bool take(unsigned char* out, std::size_t size) noexcept {
    if (page_ == nullptr || size > most_at_once) return ask_kernel(out, size);
    if (size > page_->left) {
      page_->left = 0;
      if (!ask_kernel(page_->bytes, sizeof page_->bytes)) return false;
      page_->left = sizeof page_->bytes;
    }
    page_->left -= size;
    std::memcpy(out, page_->bytes + page_->left, size);
    mbedtls_platform_zeroize(page_->bytes + page_->left, size);
    return true;
  }

 private:
  static constexpr std::size_t most_at_once = 64;
  struct Page {
    std::size_t left;
    unsigned char bytes[256];
  };
  Page* page_ = nullptr;  // null: there is none
};

}  // namespace

int random_bytes(void* /*context*/, unsigned char* out, std::size_t size) noexcept {
  static thread_local Supply supply;
  return supply.take(out, size) ? 0 : MBEDTLS_ERR_ERROR_GENERIC_ERROR;
}

}  // namespace proxycore::tls

#ifdef MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG

// Whenever PSA itself needs random numbers.
extern "C" psa_status_t mbedtls_psa_external_get_random(
    mbedtls_psa_external_random_context_t* /*context*/, std::uint8_t* out, std::size_t size,
    std::size_t* got) {
  if (proxycore::tls::random_bytes(nullptr, out, size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
  *got = size;
  return PSA_SUCCESS;
}

#endif
