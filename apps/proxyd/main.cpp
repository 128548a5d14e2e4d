// proxyd: the reverse proxy as a service. Reads a configuration, serves until it is told to stop.
//
// SIGTERM, SIGINT: drain, a second one ends at once. SIGHUP: reload. SIGUSR1: reopen the logs.
#include "privileges.h"
#include "signals.h"
#include <proxycore/proxycore.h>

#include <cstdio>
#include <memory>
#include <string>
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

Result<void> serve(Config config, const std::string& path) {
  raise_descriptor_limit();
  PX_CHECK(become(config.process.user, config.process.group));
  PX_TRY(const std::unique_ptr<proxycore::Store> store, proxycore::open_store(config.store.url));
  const std::string pid_file = config.process.pid_file;
  const bool drop = !config.process.user.empty();
  const sigset_t blocked = block_signals();
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
  for (const auto& address : server->manager_addresses()) {
    std::fprintf(stderr, "proxyd: manager on %s\n", address.text().c_str());
  }
  for (const auto& address : server->manager_tls_addresses()) {
    std::fprintf(stderr, "proxyd: manager over TLS on %s\n", address.text().c_str());
  }
  auto done = run_until_told(*server, "proxyd", path, blocked);
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
