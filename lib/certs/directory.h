// Directory: which certificates a name is served with. Control plane.
//
// For a name these are looked at, in this order: its own, the wildcard of its parent, the wildcard
// right below it; each in every source. The first that covers the name and is valid wins; one that
// has ended is better than one of another name; the fallback is for want of both. Each is parsed
// and gated once, and shared by all names and workers while any of them has it.
// A name without a valid one may be told to whoever can get one (Options::wanted); the answer then
// waits until the name is forgotten, because it has changed.
// Not here: the workers' memory of answers (tls/cert_cache). Source: RFC 9525 §6.3.
// Owner: Server. Thread: its own for the work; every function on any.
#pragma once

#include "tls/cert.h"
#include "tls/cert_cache.h"
#include "tls/credentials.h"
#include <proxycore/cert.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace proxycore::certs {

class Directory {
 public:
  struct Options {
    std::vector<CertSource*> sources = {};  // asked in this order; outlive the directory
    std::shared_ptr<const tls::Credentials> fallback = {};  // until declare()
    // Whether somebody is getting a certificate for `name`, which has none; the directory's thread.
    std::function<bool(const std::string& name)> wanted = {};
    std::function<std::int64_t()> now = {};  // seconds since 1970; empty: the system's clock
  };

  // Certificates of files, which are parsed already, come before all sources.
  using Declared = std::vector<std::shared_ptr<const tls::Certificate>>;

  Directory(Options options, const Declared& declared);
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory();

  // `answered` is called on the directory's thread, or never, if that ends first.
  void find(const std::string& name, tls::CertCache::Answered answered);
  // The certificates kept under these names or "*." patterns have changed; none: any may have.
  void forget(std::span<const std::string> names);
  // Take the place of those before. Whoever has answers has to forget them.
  void declare(const Declared& declared, std::shared_ptr<const tls::Credentials> fallback);

 private:
  struct Question {
    std::string name;
    tls::CertCache::Answered answered;
  };
  // The certificates kept under one name or pattern, as they were read.
  struct Kept {
    std::vector<std::weak_ptr<const tls::Certificate>> certificates;
    std::size_t count = 0;   // how many there were
    std::int64_t until = 0;  // seconds since 1970
    bool failed = false;     // a source could not tell
  };
  using Certificates = std::vector<std::shared_ptr<const tls::Certificate>>;
  // The certificates kept under a name; failed: not all sources could be asked.
  struct Found {
    Certificates certificates;
    bool failed = false;
  };

  void run();
  tls::CertAnswer resolve(const std::string& name);
  Found kept_under(const std::string& name);
  Found read(const std::string& name);
  [[nodiscard]] std::int64_t now() const;

  Options options_;
  std::stop_source stop_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool ending_ = false;
  std::deque<Question> questions_;
  std::vector<std::string> forgotten_;
  bool forget_all_ = false;
  std::multimap<std::string, Declared::value_type, std::less<>> declared_;  // by their names
  std::shared_ptr<const tls::Credentials> fallback_;

  // The thread's own.
  std::map<std::string, Kept, std::less<>> kept_;
  std::vector<Question> waiting_;  // for a certificate that somebody is getting

  std::thread thread_;
};

// The certificate of a chain's and a key's file. Errors: invalid, not_found, denied, io (name the
// file).
Result<std::shared_ptr<const tls::Certificate>> load_files(const std::string& chain,
                                                           const std::string& key);

// What a handshake presents of these: the first of each type of key.
tls::Credentials credentials_of(std::span<const std::shared_ptr<const tls::Certificate>> some);

}  // namespace proxycore::certs
