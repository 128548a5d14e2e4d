// Renews many certificates that are all due at once: CPU time of the runner for each, and its
// memory, everything included but the CA, which is the tests' and a process of its own.
//
// Real orders of ACME over plain HTTP on loopback, a SQLite store in a directory that is removed.
//   bench_renew [COUNT [PARALLEL]]    certificates, 10,000 unless told; how many at a time, 4
#define DOCTEST_CONFIG_IMPLEMENT
#include "host/keys.h"
#include "store/repo.h"
#include "support/fake_ca.h"
#include "support/temp_dir.h"
#include <proxycore/config.h>
#include <proxycore/renew.h>
#include <proxycore/store.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace proxycore;

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_renew: %s\n", what.c_str());
  std::exit(1);
}

// What the tests' parts find wrong ends the process.
void forbid_failures(doctest::Context& context) {
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler([](const doctest::AssertData& assert) {
    if (assert.m_failed) fail(assert.m_expr);
  });
}

// A CA in a process of its own, killed when this ends.
class OtherCa {
 public:
  OtherCa() {
    int ends[2];
    if (::pipe(ends) != 0) fail("pipe");
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const test::FakeCa ca;
      const std::string url = ca.url();
      if (::write(ends[1], url.data(), url.size()) < 0) fail("write");
      ::close(ends[1]);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char room[256];
    const ssize_t size = ::read(ends[0], room, sizeof room);
    ::close(ends[0]);
    if (size <= 0) fail("the CA did not start");
    url_.assign(room, static_cast<std::size_t>(size));
  }
  OtherCa(const OtherCa&) = delete;
  OtherCa& operator=(const OtherCa&) = delete;
  ~OtherCa() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  pid_t process_ = 0;
  std::string url_;
};

// Hosts whose certificates end in five days.
void fill(Store& store, std::size_t count) {
  constexpr std::int64_t day = 86'400;
  const CertBundle old =
      test::lone({.dns = {"*.example.test"}, .not_before = -85 * day, .not_after = 5 * day});
  std::vector<std::pair<std::string, Record>> records;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = fmt::format("h{:06}.example.test", i);
    records.emplace_back(host::keys::host(name),
                         Record{{"host", name}, {"ip", "127.0.0.1"}, {"targetPort", "80"}});
    records.emplace_back(
        host::keys::certificate(name),
        store::record_of(store::Certificate{.name = name,
                                            .fullchain_pem = old.chain_pem,
                                            .privkey_pem = old.key_pem,
                                            .expiry = std::time(nullptr) + 5 * day}));
  }
  const auto filled = store.put_all(records, {}, Deadline::in(Seconds{600}));
  if (!filled) fail(filled.error().message());
}

struct Usage {
  double cpu_ms = 0;
  long peak_kib = 0;
};

Usage usage() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto ms = [](const timeval& time) {
    return 1e3 * static_cast<double>(time.tv_sec) + 1e-3 * static_cast<double>(time.tv_usec);
  };
  return {ms(used.ru_utime) + ms(used.ru_stime), used.ru_maxrss};
}

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context;
  forbid_failures(context);
  const auto count =
      static_cast<std::size_t>(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 10'000);
  const OtherCa ca;
  const test::TempDir dir;
  Config config;
  config.acme.enabled = true;
  config.acme.agree_tos = true;
  config.acme.directory = ca.url();
  if (argc > 2) config.renew.parallel = static_cast<std::uint32_t>(std::atoi(argv[2]));
  config.renew.key_file = dir.file("key");

  const auto store = open_store("sqlite:" + dir.file("store.db"));
  if (!store) fail(store.error().message());
  fill(**store, count);
  const auto renewer = Renewer::create(config, **store, {.now_ms = {}, .pace = Millis{0}});
  if (!renewer) fail(renewer.error().message());

  const Usage before = usage();
  const auto begin = std::chrono::steady_clock::now();
  const auto summary = (*renewer)->run_once(Deadline::in(Seconds{7'200}));
  if (!summary) fail(summary.error().message());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const Usage after = usage();
  if (summary->renewed != count) {
    fail(fmt::format("{} of {} renewed, {} failed", summary->renewed, count, summary->failed));
  }
  fmt::print(
      "{} certificates renewed in {:.1f} s: {:.2f} ms of CPU each; memory {} MiB before, {} MiB at "
      "most\n",
      count, took.count(), (after.cpu_ms - before.cpu_ms) / static_cast<double>(count),
      before.peak_kib / 1024, after.peak_kib / 1024);
  return 0;
}
