#include "acme/http01.h"

namespace proxycore::acme {

Result<void> Http01::present(const Proof& proof, const Deadline& by) {
  return place_.put(proof, by);
}

Result<void> Http01::await_visible(const Proof& /*proof*/, const Deadline& /*by*/) {
  return {};
}

void Http01::clean_up(const Proof& proof) noexcept {
  place_.remove(proof);
}

}  // namespace proxycore::acme
