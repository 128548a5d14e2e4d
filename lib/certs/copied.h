// CopiedCerts: the certificates of a store on other machines, with a copy on this one's disk.
//
// What was found is kept in the copy, and answers when the store cannot. A certificate that is in
// the copy and not in the store was lost with it (a flush, say) unless it is known to have been
// erased: then its erasure was told. Not here: reading a store (cert_store).
// Owner: Server. Thread: find() as CertSource's; the others any.
#pragma once

#include "certs/cert_store.h"
#include <proxycore/cert.h>
#include <proxycore/store.h>

#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::certs {

class CopiedCerts final : public CertSource {
 public:
  // Both outlive this.
  CopiedCerts(Store& store, Store& copy) : store_(store), copy_(copy) {}

  Result<std::vector<CertBundle>> find(std::string_view name, const Deadline& by) override;
  // The record of `name` was changed or erased, and it was told which: if there is none now, that
  // is believed.
  void told(std::string_view name);
  // Whether whatever is not in the store is believed: by an operator's word, until something is
  // told that may be a flush.
  void believe_all(bool believed);

 private:
  Result<store::Certificate> find_one(Slot slot, std::string_view name, bool told,
                                      const Deadline& by);
  bool is_told(std::string_view name);
  void drop_told(std::string_view name);

  Store& store_;
  Store& copy_;
  std::mutex mutex_;  // guards what follows
  std::set<std::string, std::less<>> told_;
  bool believe_all_ = false;
};

}  // namespace proxycore::certs
