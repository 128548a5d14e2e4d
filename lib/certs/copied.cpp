#include "certs/copied.h"

#include "base/log.h"
#include "store/repo.h"

#include <utility>

namespace proxycore::certs {

namespace {

using Kept = store::Certificate;

constexpr std::size_t most_told = 100'000;

std::vector<CertBundle> bundles_of(Kept kept) {
  return {{std::move(kept.fullchain_pem), std::move(kept.privkey_pem)}};
}

}  // namespace

Result<std::vector<CertBundle>> CopiedCerts::find(std::string_view name, const Deadline& by) {
  auto found = store::load<Kept>(store_, name, by);
  auto copied = store::load<Kept>(copy_, name, by);
  if (found) {
    take_told(name);
    const bool same = copied && copied->fullchain_pem == found->fullchain_pem &&
                      copied->privkey_pem == found->privkey_pem;
    Result<void> kept;
    if (!same) kept = store::save(copy_, *found, by);
    if (!kept) {
      base::log::warning("certificate.copy",
                         {{"copy", copy_.describe()}, {"why", kept.error().message()}});
    }
    return bundles_of(*std::move(found));
  }
  if (!copied) return std::move(found).error();
  const bool gone = found.error().code == Errc::not_found;
  if (gone && take_told(name)) {
    auto removed = store::remove<Kept>(copy_, name, by);
    if (!removed) return std::move(removed).error();
    return std::move(found).error();
  }
  base::log::warning("certificate.from_copy", {{"name", std::string(name)},
                                               {"store", store_.describe()},
                                               {"why", found.error().message()}});
  return bundles_of(*std::move(copied));
}

void CopiedCerts::told(std::string_view name) {
  const std::lock_guard lock(mutex_);
  // Those that nobody asks for again.
  if (told_.size() >= most_told) told_.clear();
  told_.emplace(name);
}

void CopiedCerts::believe_all(bool believed) {
  const std::lock_guard lock(mutex_);
  believe_all_ = believed;
  told_.clear();
}

bool CopiedCerts::take_told(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto at = told_.find(name);
  const bool was_told = at != told_.end();
  if (was_told) told_.erase(at);
  return was_told || believe_all_;
}

}  // namespace proxycore::certs
