// Admission: how many clients may be connected, in all and from one address, over all workers.
//
// The one thing of the data plane that workers share and lock: exact bounds per address need one
// count. It is touched when a connection opens and when it closes, never by a request; 64 shards
// keep the workers apart.
// Thread: any.
#pragma once

#include "io/address.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace proxycore::proxy {

enum class Admitted : std::uint8_t {
  yes,
  over_total,    // over limits.connections, but may be told so
  over_address,  // over limits.connections_per_address, likewise
  no,            // so far over that it is just closed
};

class Admission {
 public:
  // 0: no bound.
  Admission(std::uint32_t total, std::uint32_t per_address)
      : total_(total), per_address_(per_address) {}

  // Anything but `no` is to be given back by leave().
  Admitted enter(const io::Address& peer);
  void leave(const io::Address& peer);
  [[nodiscard]] std::uint32_t open() const noexcept {
    return open_.load(std::memory_order_relaxed);
  }

 private:
  struct Hash {
    std::size_t operator()(const io::Address::Bits& bits) const noexcept {
      return (bits.high * 0x9e3779b97f4a7c15ULL) ^ (bits.low * 0xc2b2ae3d27d4eb4fULL);
    }
  };
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<io::Address::Bits, std::uint32_t, Hash> counts;
  };
  Shard& shard_of(const io::Address::Bits& bits) noexcept {
    return shards_[Hash{}(bits) >> 32U & 63U];
  }
  // Some room above a bound, so that those who are over it get a 503 and not a closed door.
  static std::uint32_t with_room(std::uint32_t bound) noexcept { return bound + bound / 16 + 16; }

  const std::uint32_t total_;
  const std::uint32_t per_address_;
  std::atomic<std::uint32_t> open_{0};
  std::array<Shard, 64> shards_;
};

}  // namespace proxycore::proxy
