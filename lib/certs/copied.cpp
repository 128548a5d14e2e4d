#include "certs/copied.h"

#include "base/log.h"

#include <utility>

namespace proxycore::certs {

namespace {

constexpr std::size_t most_told = 100'000;

}  // namespace

Result<std::vector<CertBundle>> CopiedCerts::find(std::string_view name, const Deadline& by) {
  const bool told = is_told(name);
  auto usual = find_one(Slot::usual, name, told, by);
  const bool is_answer = usual || usual.error().code == Errc::not_found;
  if (!is_answer) return std::move(usual).error();
  auto rsa = find_one(Slot::rsa, name, told, by);
  if (rsa || rsa.error().code == Errc::not_found) drop_told(name);
  std::vector<CertBundle> bundles;
  for (auto* one : {&usual, &rsa}) {
    if (one->has_value()) {
      bundles.push_back({std::move((*one)->fullchain_pem), std::move((*one)->privkey_pem)});
    }
  }
  if (!bundles.empty()) return bundles;
  return std::move(usual).error();
}

Result<store::Certificate> CopiedCerts::find_one(Slot slot, std::string_view name, bool told,
                                                 const Deadline& by) {
  auto found = load(store_, slot, name, by);
  auto copied = load(copy_, slot, name, by);
  if (found) {
    const bool same = copied && copied->fullchain_pem == found->fullchain_pem &&
                      copied->privkey_pem == found->privkey_pem;
    Result<void> kept;
    if (!same) kept = save(copy_, slot, *found, by);
    if (!kept) {
      base::log::warning("certificate.copy",
                         {{"copy", copy_.describe()}, {"why", kept.error().message()}});
    }
    return found;
  }
  if (!copied) return found;
  if (found.error().code == Errc::not_found && told) {
    auto removed = erase(copy_, slot, name, by);
    if (!removed) return std::move(removed).error();
    return found;
  }
  base::log::warning("certificate.from_copy", {{"name", std::string(name)},
                                               {"store", store_.describe()},
                                               {"why", found.error().message()}});
  return copied;
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

bool CopiedCerts::is_told(std::string_view name) {
  const std::lock_guard lock(mutex_);
  return believe_all_ || told_.find(name) != told_.end();
}

void CopiedCerts::drop_told(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto at = told_.find(name);
  if (at != told_.end()) told_.erase(at);
}

}  // namespace proxycore::certs
