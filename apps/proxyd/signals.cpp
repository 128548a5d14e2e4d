#include "signals.h"

#include "notify.h"

#include <cstdio>
#include <thread>
#include <utility>

using proxycore::Result;
using proxycore::Server;

namespace {

void reload(Server& server, const std::string& program, const std::string& path) {
  notify_reloading();
  auto next = proxycore::load_config(path);
  auto taken = next ? server.reload(*std::move(next)) : Result<void>(std::move(next).error());
  if (taken) {
    std::fprintf(stderr, "%s: %s reloaded\n", program.c_str(), path.c_str());
  } else {
    std::fprintf(stderr, "%s: reload refused, the old configuration goes on: %s\n", program.c_str(),
                 taken.error().detail.c_str());
  }
  notify("READY=1");
}

// On a thread of its own until SIGUSR2, which is sent it at the end.
void answer_signals(Server& server, const std::string& program, const std::string& path,
                    const sigset_t& set) {
  bool draining = false;
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) != 0 || number == SIGUSR2) return;
    if (number == SIGHUP && !draining) reload(server, program, path);
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

}  // namespace

sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

Result<void> run_until_told(Server& server, const std::string& program, const std::string& path,
                            const sigset_t& blocked) {
  std::thread signals([&] { answer_signals(server, program, path, blocked); });
  notify("READY=1");
  auto done = server.run();
  pthread_kill(signals.native_handle(), SIGUSR2);
  signals.join();
  return done;
}
