// proxy-admin: the manager of proxyd as a service of its own: REST API and pages. Serves until it
// is told to stop; reads the configuration of proxyd.
//
// "user password NAME" sets a password from the machine itself, for who cannot log in.
#include "../proxyd/signals.h"
#include <proxycore/proxycore.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

using proxycore::Config;
using proxycore::Deadline;
using proxycore::Result;
using proxycore::Server;

namespace {

// Exit statuses, as docs/proxy-admin.md tells them.
constexpr int failed = 1;
constexpr int wrong_usage = 2;

constexpr proxycore::Seconds for_the_store{20};

int complain(const proxycore::Error& error, int status) {
  const std::string text = error.detail.empty() ? error.message() : error.detail;
  std::fprintf(stderr, "proxy-admin: %s\n", text.c_str());
  return status;
}

Result<void> serve(Config config, proxycore::Store& store, const std::string& path) {
  const sigset_t blocked = block_signals();
  PX_TRY(const std::unique_ptr<Server> server, Server::create_manager(std::move(config), store));
  for (const auto& address : server->manager_addresses()) {
    std::fprintf(stderr, "proxy-admin: manager on %s\n", address.text().c_str());
  }
  for (const auto& address : server->manager_tls_addresses()) {
    std::fprintf(stderr, "proxy-admin: manager over TLS on %s\n", address.text().c_str());
  }
  return run_until_told(*server, "proxy-admin", path, blocked);
}

int set_password(const Config& config, proxycore::Store& store, const std::string& user,
                 bool from_input) {
  std::string password;
  if (from_input) {
    if (!std::getline(std::cin, password) || password.empty()) {
      return complain({proxycore::Errc::invalid, "expected a password on standard input"},
                      wrong_usage);
    }
    if (password.back() == '\r') password.pop_back();
  }
  const auto set = proxycore::AdminService::set_password(config, store, user, password,
                                                         Deadline::in(for_the_store));
  if (!set) return complain(set.error(), failed);
  if (!from_input) std::printf("%s\n", set->c_str());
  std::fprintf(stderr,
               "proxy-admin: %s has a new password; whoever was logged in is not any more\n",
               user.c_str());
  return 0;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): only running out of memory would, and it ends us
int main(int argc, char** argv) {
  CLI::App app{
      "The manager of proxyd: REST API and pages.\n\nWithout a command it serves until SIGTERM or "
      "SIGINT; HUP reads the configuration again.",
      "proxy-admin"};
  std::string path;
  std::string user_name;
  bool check = false;
  bool from_input = false;
  app.set_version_flag("--version", "proxy-admin " + std::string(proxycore::version()));
  app.add_option("-c,--config", path, "The configuration file of proxyd (TOML)")->type_name("FILE");
  app.add_flag("--check", check, "Check the configuration and exit: 0 if it is good");
  app.require_subcommand(0, 1);
  CLI::App* user = app.add_subcommand("user", "Users, from the machine itself");
  user->require_subcommand(1);
  CLI::App* password =
      user->add_subcommand("password", "Set a user's password and end all their log-ins");
  password->add_option("NAME", user_name, "The user")->required();
  password->add_flag("--stdin", from_input,
                     "Take it from a line of standard input; otherwise a random one is printed");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : wrong_usage;
  }
  if (path.empty()) {
    std::fputs("proxy-admin: expected --config FILE; see --help\n", stderr);
    return wrong_usage;
  }
  auto config = proxycore::load_config(path);
  if (!config) return complain(config.error(), wrong_usage);
  if (check) {
    if (auto good = Server::check(*config); !good) return complain(good.error(), wrong_usage);
    std::printf("%s: ok\n", path.c_str());
    return 0;
  }
  const auto store = proxycore::open_store(config->store.url);
  if (!store) return complain(store.error(), failed);
  if (password->parsed()) return set_password(*config, **store, user_name, from_input);
  const auto served = serve(*std::move(config), **store, path);
  return served ? 0 : complain(served.error(), failed);
}
