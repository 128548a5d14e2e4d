#include "proxy/admission.h"

namespace proxycore::proxy {

Admitted Admission::enter(const io::Address& peer) {
  const std::uint32_t open = open_.fetch_add(1, std::memory_order_relaxed) + 1;
  Admitted answer = Admitted::yes;
  if (total_ != 0 && open > total_) {
    answer = open > with_room(total_) ? Admitted::no : Admitted::over_total;
  }
  // Clients on Unix sockets have no address to count by.
  if (answer != Admitted::no && per_address_ != 0 && !peer.unspecified()) {
    const io::Address::Bits bits = peer.bits();
    Shard& shard = shard_of(bits);
    const std::lock_guard lock(shard.mutex);
    std::uint32_t& count = shard.counts[bits];
    ++count;
    if (count > with_room(per_address_)) {
      --count;
      answer = Admitted::no;
    } else if (count > per_address_ && answer == Admitted::yes) {
      answer = Admitted::over_address;
    }
  }
  if (answer == Admitted::no) open_.fetch_sub(1, std::memory_order_relaxed);
  return answer;
}

void Admission::leave(const io::Address& peer) {
  open_.fetch_sub(1, std::memory_order_relaxed);
  if (per_address_ == 0 || peer.unspecified()) return;
  const io::Address::Bits bits = peer.bits();
  Shard& shard = shard_of(bits);
  const std::lock_guard lock(shard.mutex);
  const auto at = shard.counts.find(bits);
  if (at != shard.counts.end() && --at->second == 0) shard.counts.erase(at);
}

}  // namespace proxycore::proxy
