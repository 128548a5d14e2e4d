// TlsService: what TLS with clients needs besides the workers: certificates and ticket keys.
//
// Puts the sources of certificates in their order (the application's, files, the store), sees to
// the fallback certificate, and tells the workers what has changed. Not here: which certificate a
// name gets (certs/directory), tickets (ticket_feed). Owner: Server. Thread: create and start the
// Server's; the others any.
#pragma once

#include "certs/copied.h"
#include "certs/directory.h"
#include "proxy/worker.h"
#include "server/ticket_feed.h"
#include "server/wishes.h"
#include <proxycore/cert.h>
#include <proxycore/config.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::server {

class TlsService {
 public:
  using EachWorker = std::function<void(const std::function<void(proxy::Worker&)>& tell)>;

  // `copy`: the copy on disk of a store on other machines, or null. `each_worker` calls a function
  // with every worker there is. Errors: invalid, not_found, denied, io (names file and key).
  static Result<std::unique_ptr<TlsService>> create(const Config& config, Store& store, Store* copy,
                                                    EachWorker each_worker, Wishes::HostOf host_of);
  // What create() says of the files alone.
  static Result<void> check(const Config& config);
  ~TlsService();

  // Asked before all others; outlives this. Before start().
  void add_source(CertSource& source) { sources_.push_back(&source); }
  // Before equip().
  void start();
  // What a worker needs to serve TLS. Errors: those of ServerContext::create.
  Result<void> equip(proxy::Worker& worker);
  // A name's certificate is asked for anew; empty: every name's.
  void forget(std::string_view name);
  // Reads the files of `next` again, certificates and the fallback: all, or on an error none, are
  // taken over by the function that is returned. One at a time. Errors: as create.
  Result<std::function<void()>> reload(const Config& next);

 private:
  TlsService(const Config& config, Store& store, Store* copy, EachWorker each_worker,
             Wishes::HostOf host_of);
  Result<void> prepare();
  Result<std::shared_ptr<const tls::Credentials>> fallback_of(const TlsConfig& config);
  Result<CertBundle> kept_fallback();
  void on_changed(std::string_view key);
  void story_changed(std::string_view name);
  void forget_all();

  const Config& config_;
  Store& store_;
  Store* copy_;
  EachWorker each_worker_;
  CertStore kept_;
  std::unique_ptr<certs::CopiedCerts> copied_;  // null: the store is on this machine
  std::vector<CertSource*> sources_;
  std::shared_ptr<const tls::Credentials> own_fallback_;  // the store's; null: not needed so far
  TicketFeed::Keys first_keys_;
  std::unique_ptr<TicketFeed> tickets_;  // null: none are given
  std::unique_ptr<Wishes> wishes_;       // null: no certificate is got because a visitor came

  std::mutex mutex_;  // guards what follows; after start() `directory_` stays as it is
  certs::Directory::Declared declared_;
  std::shared_ptr<const tls::Credentials> fallback_;
  std::unique_ptr<certs::Directory> directory_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace proxycore::server
