#include "certs/directory.h"

#include "support/authority.h"
#include "support/temp_dir.h"

#include <atomic>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using certs::Directory;
using tls::CertAnswer;
using tls::Certificate;

namespace {

constexpr std::int64_t day = 86'400;

// What the test puts there, and what it was asked for.
class Source final : public CertSource {
 public:
  Result<std::vector<CertBundle>> find(std::string_view name, const Deadline& /*by*/) override {
    const std::lock_guard lock(mutex_);
    asked_.emplace_back(name);
    if (away) return Error{Errc::closed, "away"};
    const auto at = bundles_.find(name);
    if (at == bundles_.end()) return Error{Errc::not_found};
    return at->second;
  }
  void put(const std::string& name, std::vector<CertBundle> bundles) {
    const std::lock_guard lock(mutex_);
    bundles_.insert_or_assign(name, std::move(bundles));
  }
  std::vector<std::string> take_asked() {
    const std::lock_guard lock(mutex_);
    return std::exchange(asked_, {});
  }
  std::atomic<bool> away = false;

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<CertBundle>, std::less<>> bundles_;
  std::vector<std::string> asked_;
};

struct Rig {
  explicit Rig(const Directory::Declared& declared = {},
               decltype(Directory::Options::wanted) wanted = {})
      : directory({{&first, &second}, fallback, std::move(wanted), {}}, declared) {}

  std::future<CertAnswer> ask(const std::string& name) {
    auto promise = std::make_shared<std::promise<CertAnswer>>();
    auto future = promise->get_future();
    directory.find(name, [promise](CertAnswer answer) { promise->set_value(std::move(answer)); });
    return future;
  }
  CertAnswer find(const std::string& name) {
    auto future = ask(name);
    REQUIRE(future.wait_for(std::chrono::seconds{10}) == std::future_status::ready);
    return future.get();
  }
  // The names of the certificate served.
  std::string names(const std::string& name) {
    const CertAnswer answer = find(name);
    if (answer.credentials == nullptr) return "unknown";
    if (answer.credentials->fallback) return "fallback";
    const auto& certificate =
        answer.credentials->ecdsa ? answer.credentials->ecdsa : answer.credentials->rsa;
    std::string text;
    for (const std::string& one : certificate->names()) text += one + " ";
    return text;
  }

  std::shared_ptr<const tls::Credentials> fallback =
      std::make_shared<const tls::Credentials>(tls::Credentials{nullptr, nullptr, true});
  Source first;
  Source second;
  Directory directory;
};

CertBundle ended(std::vector<std::string> names) {
  return lone({.dns = std::move(names), .not_before = -2 * day, .not_after = -day});
}

}  // namespace

TEST_CASE("certificates: the name's own, then its parent's wildcard, then the one below it") {
  Rig rig;
  CHECK(rig.names("a.example.test") == "fallback");
  CHECK(rig.first.take_asked() ==
        std::vector<std::string>{"a.example.test", "*.example.test", "*.a.example.test"});
  rig.first.put("*.a.example.test", {lone({.dns = {"*.a.example.test", "a.example.test"}})});
  rig.directory.forget({});
  CHECK(rig.names("a.example.test") == "*.a.example.test a.example.test ");
  rig.second.put("*.example.test", {lone({.dns = {"*.example.test"}})});
  rig.directory.forget({});
  CHECK(rig.names("a.example.test") == "*.example.test ");
  rig.second.put("a.example.test", {lone({.dns = {"a.example.test"}})});
  rig.directory.forget({});
  CHECK(rig.names("a.example.test") == "a.example.test ");
  CHECK(rig.names("b.example.test") == "*.example.test ");
  CHECK(rig.names("c.b.example.test") == "fallback");
  CHECK(rig.names("example.test") == "fallback");
}

TEST_CASE("certificates: one that has ended, or is for others, is never preferred to a valid one") {
  Rig rig;
  rig.first.put("a.example.test", {ended({"a.example.test"})});
  CHECK(rig.names("a.example.test") == "a.example.test ");  // better than another name's
  rig.first.put("*.example.test", {lone({.dns = {"*.example.test"}})});
  rig.directory.forget({});
  CHECK(rig.names("a.example.test") == "*.example.test ");
  rig.first.put("a.example.test", {lone({.dns = {"other.test"}})});
  rig.directory.forget({});
  CHECK(rig.names("a.example.test") == "*.example.test ");
  // Not valid yet.
  rig.first.put("a.example.test",
                {lone({.dns = {"a.example.test"}, .not_before = day, .not_after = 2 * day})});
  rig.directory.forget({});
  CHECK(rig.names("a.example.test") == "*.example.test ");
}

TEST_CASE("certificates: both types of keys of a name are served, from wherever they come") {
  Rig rig;
  rig.first.put("a.test", {lone({.dns = {"a.test"}})});
  rig.second.put("a.test",
                 {lone({.dns = {"a.test"}, .key = "rsa:2048"}), lone({.dns = {"a.test"}})});
  const CertAnswer answer = rig.find("a.test");
  REQUIRE(answer.credentials != nullptr);
  REQUIRE(answer.credentials->ecdsa);
  CHECK(answer.credentials->rsa);
  CHECK(answer.ttl > Millis{0});
  CHECK_FALSE(answer.credentials->fallback);
}

TEST_CASE("certificates: broken ones are passed over") {
  Rig rig;
  const CertBundle good = lone({.dns = {"a.test"}});
  rig.first.put("a.test",
                {{"nonsense", good.key_pem}, {good.chain_pem, lone({.dns = {"a.test"}}).key_pem}});
  CHECK(rig.names("a.test") == "fallback");
  rig.second.put("a.test", {good});
  rig.directory.forget(std::vector<std::string>{"a.test"});
  CHECK(rig.names("a.test") == "a.test ");
}

TEST_CASE("certificates: a source that is away leaves it open, unless another one has it") {
  Rig rig;
  rig.first.away = true;
  CHECK(rig.names("a.test") == "unknown");
  CHECK(rig.find("a.test").ttl <= Seconds{1});
  rig.second.put("a.test", {lone({.dns = {"a.test"}})});
  rig.directory.forget({});
  CHECK(rig.names("a.test") == "a.test ");
}

TEST_CASE("certificates: one is read once while it is used, and again when it is forgotten") {
  Rig rig;
  rig.first.put("*.example.test", {lone({.dns = {"*.example.test"}})});
  const CertAnswer a = rig.find("a.example.test");
  const CertAnswer b = rig.find("b.example.test");
  CHECK(a.credentials->ecdsa == b.credentials->ecdsa);
  rig.first.take_asked();
  rig.directory.forget(std::vector<std::string>{"*.example.test"});
  const CertAnswer again = rig.find("a.example.test");
  CHECK(again.credentials->ecdsa != a.credentials->ecdsa);
  CHECK(rig.first.take_asked() == std::vector<std::string>{"*.example.test"});
}

TEST_CASE("certificates: those declared come first, and can be declared anew") {
  const auto declared = [](const std::vector<std::string>& names) {
    return *Certificate::load(lone({.dns = names}));
  };
  Rig rig({declared({"a.test", "*.w.test"}), declared({"b.test"})});
  rig.first.put("a.test", {lone({.dns = {"a.test", "from.source.test"}})});
  CHECK(rig.names("a.test") == "a.test *.w.test ");
  CHECK(rig.names("x.w.test") == "a.test *.w.test ");
  CHECK(rig.names("b.test") == "b.test ");
  rig.directory.declare({declared({"b.test", "c.test"})}, rig.fallback);
  CHECK(rig.names("a.test") == "a.test from.source.test ");
  CHECK(rig.names("b.test") == "b.test c.test ");
}

TEST_CASE("certificates: there may be another fallback") {
  Rig rig;
  CHECK(rig.find("a.test").credentials == rig.fallback);
  const auto other =
      std::make_shared<const tls::Credentials>(tls::Credentials{nullptr, nullptr, true});
  rig.directory.declare({}, other);
  CHECK(rig.find("a.test").credentials == other);
}

TEST_CASE("certificates: who has none waits while somebody is getting one") {
  std::promise<std::string> wanted;
  Rig rig({}, [&wanted](const std::string& name) {
    if (name != "new.test") return false;
    wanted.set_value(name);
    return true;
  });
  auto waiting = rig.ask("new.test");
  auto told = wanted.get_future();
  REQUIRE(told.wait_for(std::chrono::seconds{10}) == std::future_status::ready);
  CHECK(told.get() == "new.test");
  CHECK(rig.names("other.test") == "fallback");  // waits for nobody
  CHECK(waiting.wait_for(std::chrono::seconds{0}) == std::future_status::timeout);
  rig.first.put("new.test", {lone({.dns = {"new.test"}})});
  rig.directory.forget(std::vector<std::string>{"new.test"});
  REQUIRE(waiting.wait_for(std::chrono::seconds{10}) == std::future_status::ready);
  CHECK(waiting.get().credentials->ecdsa != nullptr);
}

TEST_CASE("certificates: files are loaded, or the error names them") {
  const TempDir folder;
  const CertBundle bundle = lone({.dns = {"a.test"}});
  const auto write = [&folder](const std::string& name, std::string_view text) {
    std::ofstream(folder.file(name), std::ios::binary) << text;
    return folder.file(name);
  };
  const std::string chain = write("chain.pem", bundle.chain_pem);
  const std::string key = write("key.pem", bundle.key_pem);
  REQUIRE(certs::load_files(chain, key));
  CHECK((*certs::load_files(chain, key))->matches("a.test"));

  const auto missing = certs::load_files(folder.file("none.pem"), key);
  CHECK(missing.error().code == Errc::not_found);
  CHECK(missing.error().detail.starts_with(folder.file("none.pem") + ": cannot be read: "));
  const auto folder_read = certs::load_files(folder.path(), key);
  CHECK(folder_read.error().code == Errc::invalid);
  const auto broken = certs::load_files(chain, write("other.pem", lone({}).key_pem));
  CHECK(broken.error().code == Errc::invalid);
  CHECK(broken.error().detail.starts_with(chain + " with " + folder.file("other.pem") + ": "));
  const auto large = certs::load_files(write("large.pem", std::string((1 << 20) + 1, 'x')), key);
  CHECK(large.error().code == Errc::limit);
}
