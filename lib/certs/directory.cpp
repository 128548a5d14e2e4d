#include "certs/directory.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <algorithm>
#include <utility>

namespace proxycore::certs {

namespace {

namespace log = base::log;

// How long answers are good, in seconds. Changes are told; the rest is for clocks that jump and
// stores that cannot tell.
constexpr std::int64_t valid_ttl = 3'600;
constexpr std::int64_t ended_ttl = 60;
constexpr std::int64_t missing_ttl = 10;
constexpr std::int64_t failed_ttl = 1;
constexpr Millis source_limit{10'000};  // of one question to a source
constexpr std::size_t most_waiting = 10'000;
constexpr std::size_t most_kept = 200'000;  // names; beyond, those that nobody has go
constexpr std::size_t most_file = 1 << 20;  // bytes

// The names under which a certificate for `name` may be kept, the best first.
std::vector<std::string> candidates(const std::string& name) {
  std::vector<std::string> all = {name};
  if (const std::size_t dot = name.find('.'); dot != std::string::npos && dot + 1 < name.size()) {
    all.push_back("*" + name.substr(dot));
  }
  all.push_back("*." + name);
  return all;
}

}  // namespace

Result<std::shared_ptr<const tls::Certificate>> load_files(const std::string& chain,
                                                           const std::string& key) {
  CertBundle bundle;
  PX_TRY(bundle.chain_pem, base::read_file(chain, most_file));
  PX_TRY(bundle.key_pem, base::read_file(key, most_file));
  auto loaded = tls::Certificate::load(bundle);
  if (!loaded) return std::move(loaded).error().within(chain + " with " + key);
  return loaded;
}

tls::Credentials credentials_of(std::span<const std::shared_ptr<const tls::Certificate>> some) {
  tls::Credentials credentials;
  for (const auto& certificate : some) {
    auto& place =
        certificate->key_type() == tls::KeyType::rsa ? credentials.rsa : credentials.ecdsa;
    if (place == nullptr) place = certificate;
  }
  return credentials;
}

Directory::Directory(Options options, const Declared& declared) : options_(std::move(options)) {
  declare(declared, std::move(options_.fallback));
  thread_ = std::thread([this] { run(); });
}

Directory::~Directory() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  stop_.request_stop();
  thread_.join();
}

void Directory::find(const std::string& name, tls::CertCache::Answered answered) {
  const std::lock_guard lock(mutex_);
  questions_.push_back({name, std::move(answered)});
  wake_.notify_one();
}

void Directory::forget(std::span<const std::string> names) {
  const std::lock_guard lock(mutex_);
  if (names.empty()) forget_all_ = true;
  forgotten_.insert(forgotten_.end(), names.begin(), names.end());
  wake_.notify_one();
}

void Directory::declare(const Declared& declared,
                        std::shared_ptr<const tls::Credentials> fallback) {
  const std::lock_guard lock(mutex_);
  fallback_ = std::move(fallback);
  declared_.clear();
  for (const auto& certificate : declared) {
    for (const std::string& name : certificate->names()) declared_.emplace(name, certificate);
  }
  forget_all_ = true;
}

std::int64_t Directory::now() const {
  return options_.now ? options_.now() : base::now_s();
}

void Directory::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] {
      return ending_ || forget_all_ || !forgotten_.empty() || !questions_.empty();
    });
    if (ending_) return;
    // What has changed comes first: no answer of before may follow.
    if (std::exchange(forget_all_, false)) {
      kept_.clear();
      for (Question& question : waiting_) questions_.push_back(std::move(question));
      waiting_.clear();
    }
    for (const std::string& name : std::exchange(forgotten_, {})) {
      kept_.erase(name);
      const auto changed = std::partition(
          waiting_.begin(), waiting_.end(),
          [&name](const Question& question) { return !tls::may_serve(name, question.name); });
      std::move(changed, waiting_.end(), std::back_inserter(questions_));
      waiting_.erase(changed, waiting_.end());
    }
    if (questions_.empty()) continue;
    Question question = std::move(questions_.front());
    questions_.pop_front();
    lock.unlock();
    tls::CertAnswer answer = resolve(question.name);
    const bool missing = answer.credentials != nullptr && answer.credentials->fallback;
    if (missing && waiting_.size() < most_waiting && options_.wanted &&
        options_.wanted(question.name)) {
      waiting_.push_back(std::move(question));
    } else {
      question.answered(std::move(answer));
    }
    lock.lock();
  }
}

tls::CertAnswer Directory::resolve(const std::string& name) {
  const std::int64_t at = now();
  const auto answer = [](tls::Credentials credentials, std::int64_t ttl_s) {
    return tls::CertAnswer{std::make_shared<const tls::Credentials>(std::move(credentials)),
                           Seconds{ttl_s}};
  };
  Certificates ended;
  bool failed = false;
  for (const std::string& candidate : candidates(name)) {
    Found found = kept_under(candidate);
    failed = failed || found.failed;
    std::erase_if(found.certificates,
                  [&name](const auto& certificate) { return !certificate->matches(name); });
    Certificates valid;
    for (const auto& certificate : found.certificates) {
      const bool now_valid = certificate->not_before() <= at && at <= certificate->not_after();
      (now_valid ? valid : ended).push_back(certificate);
    }
    if (valid.empty()) continue;
    std::int64_t ttl = valid_ttl;
    for (const auto& one : valid) ttl = std::min(ttl, one->not_after() - at + 1);
    return answer(credentials_of(valid), ttl);
  }
  // What was served before is better than what may be second best.
  if (failed) return {nullptr, Seconds{failed_ttl}};
  if (!ended.empty()) return answer(credentials_of(std::span(ended).first(1)), ended_ttl);
  const std::lock_guard lock(mutex_);
  return {fallback_, Seconds{missing_ttl}};
}

// As it was read before, while somebody still has it.
Directory::Found Directory::kept_under(const std::string& name) {
  const std::int64_t at = now();
  if (const auto known = kept_.find(name); known != kept_.end() && at < known->second.until) {
    Found found;
    found.failed = known->second.failed;
    for (const auto& weak : known->second.certificates) {
      if (auto certificate = weak.lock()) found.certificates.push_back(std::move(certificate));
    }
    if (found.certificates.size() == known->second.count) return found;
  }
  Found found = read(name);
  if (kept_.size() >= most_kept) {
    std::erase_if(kept_, [](const auto& one) {
      const auto& certificates = one.second.certificates;
      return std::all_of(certificates.begin(), certificates.end(),
                         [](const auto& weak) { return weak.expired(); });
    });
  }
  const std::int64_t ttl = found.failed                 ? failed_ttl
                           : found.certificates.empty() ? missing_ttl
                                                        : valid_ttl;
  kept_[name] = {{found.certificates.begin(), found.certificates.end()},
                 found.certificates.size(),
                 at + ttl,
                 found.failed};
  return found;
}

Directory::Found Directory::read(const std::string& name) {
  Found found;
  {
    const std::lock_guard lock(mutex_);
    const auto [first, last] = declared_.equal_range(name);
    for (auto at = first; at != last; ++at) found.certificates.push_back(at->second);
  }
  for (CertSource* source : options_.sources) {
    auto bundles = source->find(name, Deadline::in(source_limit, stop_.get_token()));
    if (!bundles) {
      if (bundles.error().code == Errc::not_found) continue;
      // Text that is no certificate is as good as none; a store that is away may have a good one.
      if (bundles.error().code != Errc::invalid) found.failed = true;
      log::warning("certificate.read", {{"name", name}, {"why", bundles.error().message()}});
      continue;
    }
    for (const CertBundle& bundle : *bundles) {
      auto certificate = tls::Certificate::load(bundle);
      Result<void> passed;
      if (certificate) {
        // One that has ended is still told from a broken one: it may be all there is.
        passed = tls::gate(*certificate, {}, (*certificate)->not_after());
      }
      const Error* why = !certificate ? &certificate.error() : !passed ? &passed.error() : nullptr;
      if (why != nullptr) {
        log::warning("certificate.refused", {{"name", name}, {"why", why->message()}});
        continue;
      }
      found.certificates.push_back(*std::move(certificate));
    }
  }
  return found;
}

}  // namespace proxycore::certs
