// proxyd: the reverse proxy as a service. Reads a configuration, serves until it is told to stop.
//
// SIGTERM, SIGINT: drain, a second one ends at once. SIGHUP: reload. SIGUSR1: reopen the logs.
#include "notify.h"
#include "privileges.h"
#include <proxycore/proxycore.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>

using proxycore::Config;
using proxycore::Result;
using proxycore::Server;

namespace {

// Exit statuses, as docs/proxyd.md tells them.
constexpr int could_not_serve = 1;
constexpr int wrong_usage = 2;

int complain(const proxycore::Error& error, int status) {
  std::fprintf(stderr, "proxyd: %s\n", error.detail.c_str());
  return status;
}

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  return set;
}

void reload(Server& server, const std::string& path) {
  notify_reloading();
  auto next = proxycore::load_config(path);
  auto taken = next ? server.reload(*std::move(next)) : Result<void>(std::move(next).error());
  if (taken) {
    std::fprintf(stderr, "proxyd: %s reloaded\n", path.c_str());
  } else {
    std::fprintf(stderr, "proxyd: reload refused, the old configuration goes on: %s\n",
                 taken.error().detail.c_str());
  }
  notify("READY=1");
}

// On a thread of its own until SIGUSR2, which run() sends it at the end.
void answer_signals(Server& server, const std::string& path, const sigset_t& set) {
  bool draining = false;
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) != 0 || number == SIGUSR2) return;
    if (number == SIGHUP && !draining) reload(server, path);
    if (number == SIGUSR1) server.reopen_logs();
    if (number != SIGTERM && number != SIGINT) continue;
    notify("STOPPING=1");
    if (draining) {
      server.stop();
    } else {
      server.drain();
    }
    draining = true;
  }
}

Result<void> serve(Config config, const std::string& path) {
  raise_descriptor_limit();
  PX_CHECK(become(config.process.user, config.process.group));
  PX_TRY(const std::unique_ptr<proxycore::Store> store, proxycore::open_store(config.store.url));
  const std::string pid_file = config.process.pid_file;
  const bool drop = !config.process.user.empty();
  // Before the first thread: all of them leave these signals to answer_signals().
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  PX_TRY(const std::unique_ptr<Server> server,
         Server::create(std::move(config), *store, [&]() -> Result<void> {
           return drop ? drop_capabilities() : Result<void>();
         }));
  PX_CHECK(write_pid_file(pid_file));

  for (const auto& address : server->http_addresses()) {
    std::fprintf(stderr, "proxyd: http on %s\n", address.text().c_str());
  }
  for (const auto& address : server->https_addresses()) {
    std::fprintf(stderr, "proxyd: https on %s\n", address.text().c_str());
  }
  for (const auto& address : server->admin_addresses()) {
    std::fprintf(stderr, "proxyd: metrics and health on %s\n", address.text().c_str());
  }
  std::thread signals([&] { answer_signals(*server, path, set); });
  notify("READY=1");
  auto done = server->run();
  pthread_kill(signals.native_handle(), SIGUSR2);
  signals.join();
  if (!pid_file.empty()) std::remove(pid_file.c_str());
  return done;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): only running out of memory would, and it ends us
int main(int argc, char** argv) {
  CLI::App app{
      "A reverse proxy by host name.\n\nSignals: TERM or INT drains (twice: ends at once), "
      "HUP reloads, USR1 reopens the logs.",
      "proxyd"};
  std::string path;
  bool check = false;
  bool reference = false;
  app.set_version_flag("--version", "proxyd " + std::string(proxycore::version()));
  app.add_option("-c,--config", path, "The configuration file (TOML)")->type_name("FILE");
  app.add_flag("--check", check, "Check the configuration and exit: 0 if it is good");
  app.add_flag("--print-config-reference", reference, "Print every configuration key and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : wrong_usage;
  }
  if (reference) {
    std::fputs(proxycore::config_reference().c_str(), stdout);
    return 0;
  }
  if (path.empty()) {
    std::fputs("proxyd: expected --config FILE; see --help\n", stderr);
    return 2;
  }
  auto config = proxycore::load_config(path);
  if (!config) {
    return complain(config.error(), wrong_usage);
  }
  if (check) {
    if (auto good = Server::check(*config); !good) return complain(good.error(), wrong_usage);
    std::printf("%s: ok\n", path.c_str());
    return 0;
  }
  auto served = serve(*std::move(config), path);
  return served ? 0 : complain(served.error(), could_not_serve);
}
