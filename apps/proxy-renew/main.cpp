// proxy-renew: gets certificates for the hosts of a configuration and a store, and renews them.
//
// Without a command it works until SIGTERM or SIGINT. Reads the configuration of proxyd.
#include "../proxyd/notify.h"
#include <proxycore/proxycore.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

using proxycore::CertificateStory;
using proxycore::Config;
using proxycore::Deadline;
using proxycore::Error;
using proxycore::Renewer;
using proxycore::Result;

namespace {

// Exit statuses, as docs/proxy-renew.md tells them.
constexpr int failed = 1;
constexpr int wrong_usage = 2;

constexpr std::chrono::minutes for_one_certificate{30};
constexpr std::chrono::hours for_all{24};
constexpr std::chrono::minutes for_the_store{1};

int complain(const Error& error, int status = failed) {
  std::fprintf(stderr, "proxy-renew: %s\n", error.detail.c_str());
  return status;
}

struct Arguments {
  std::string config;
  bool once = false;
  bool json = false;
  std::string metrics;                // file; empty: none
  std::string name;                   // of a certificate; empty: all
  int reason = 0;                     // of a revocation
  std::string layout;                 // of an export: "certbot" or "certmagic"
  std::string directory;              // to export to
  std::vector<std::string> names;     // to export; none: all
  bool replace = false;               // what is there already
  std::string type;                   // of a DNS provider
  std::string label;                  // what people call it
  std::string id;                     // of a DNS account
  std::string plugin;                 // file
  std::string zone;                   // to try a plugin in
  std::vector<std::string> settings;  // "name=value"
};

// "name=value"; "name=@FILE" and "name=-" (standard input) keep a secret off the command line.
Result<std::vector<std::pair<std::string, std::string>>> settings_of(
    const std::vector<std::string>& given) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const std::string& text : given) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{proxycore::Errc::invalid, "expected NAME=VALUE, NAME=@FILE or NAME=-"};
    }
    const std::string name = text.substr(0, equals);
    std::string value = text.substr(equals + 1);
    if (value == "-") {
      std::getline(std::cin, value);
    } else if (value.starts_with('@')) {
      std::ifstream file(value.substr(1));
      if (!file) {
        return Error{proxycore::Errc::not_found, value.substr(1) + ": cannot be read"};
      }
      value.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
    settings.emplace_back(name, std::move(value));
  }
  return settings;
}

std::string date(std::int64_t seconds) {
  if (seconds == 0) return "-";
  const std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts)};
}

void print(const CertificateStory& story, bool json, bool whole) {
  if (json) {
    std::printf("%s\n", json_of(story).c_str());
    return;
  }
  if (!whole) {
    std::printf("%-40s %-8s until %-20s next %-20s %s\n", story.name.c_str(),
                std::string(name_of(story.state)).c_str(), date(story.not_after).c_str(),
                date(story.next_ms / 1'000).c_str(), story.why.c_str());
    return;
  }
  std::string names;
  for (const std::string& name : story.identifiers) names += (names.empty() ? "" : ", ") + name;
  std::printf("%s\n  names     %s\n  host      %s\n  state     %s\n", story.name.c_str(),
              names.c_str(), story.host.c_str(), std::string(name_of(story.state)).c_str());
  if (story.not_after != 0) {
    std::printf("  valid     %s to %s\n  issuer    %s\n  serial    %s\n",
                date(story.not_before).c_str(), date(story.not_after).c_str(), story.issuer.c_str(),
                story.serial.c_str());
    if (!story.ca.empty()) std::printf("  ca        %s\n", story.ca.c_str());
  }
  std::printf("  next      %s\n            %s\n", date(story.next_ms / 1'000).c_str(),
              story.why.c_str());
  if (story.failures != 0) std::printf("  failures  %u in a row\n", story.failures);
  for (const auto& attempt : story.attempts) {
    std::printf("  %s  %-8s  %s\n", date(attempt.at_ms / 1'000).c_str(), attempt.what.c_str(),
                attempt.ok ? "ok" : ("failed at " + attempt.step + ": " + attempt.words).c_str());
  }
}

// Steps as they are taken: lines for people, JSON for scripts.
Renewer::Progress progress(bool json) {
  return [json](std::string_view name, std::string_view step, std::string_view detail) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    if (json) {
      std::fprintf(stderr, "{\"name\":\"%.*s\",\"step\":\"%.*s\"}\n", static_cast<int>(name.size()),
                   name.data(), static_cast<int>(step.size()), step.data());
      return;
    }
    std::fprintf(stderr, "proxy-renew: %.*s: %.*s%s%.*s\n", static_cast<int>(name.size()),
                 name.data(), static_cast<int>(step.size()), step.data(),
                 detail.empty() ? "" : ": ", static_cast<int>(detail.size()), detail.data());
  };
}

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) sigaddset(&set, number);
  return set;
}

// Ends what runs when SIGTERM or SIGINT comes, and tells of SIGHUP; the object's end ends the
// waiting.
class Signals {
 public:
  Signals() : set_(watched_signals()) {
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    thread_ = std::thread([this] {
      int number = 0;
      while (sigwait(&set_, &number) == 0) {
        if (number == SIGUSR2) return;
        if (number == SIGHUP) {
          const std::lock_guard lock(mutex_);
          if (on_hangup_) on_hangup_();
          continue;
        }
        notify("STOPPING=1");
        stop_.request_stop();
      }
    });
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
  }
  [[nodiscard]] std::stop_token token() const { return stop_.get_token(); }
  // Empty: nobody is told.
  void on_hangup(std::function<void()> told) {
    const std::lock_guard lock(mutex_);
    on_hangup_ = std::move(told);
  }

 private:
  const sigset_t set_;
  std::stop_source stop_;
  std::mutex mutex_;  // guards the next
  std::function<void()> on_hangup_;
  std::thread thread_;
};

template <class Duration>
Deadline within(Duration span, const Signals& signals) {
  return Deadline::in(std::chrono::duration_cast<proxycore::Millis>(span), signals.token());
}

void reload(Renewer& renewer, const std::string& path) {
  auto next = proxycore::load_config(path);
  if (!next) {
    std::fprintf(stderr, "proxy-renew: reload refused, the old hosts go on: %s\n",
                 next.error().detail.c_str());
    return;
  }
  std::vector<proxycore::Host> hosts;
  for (auto& declared : next->hosts) hosts.push_back(std::move(declared.host));
  renewer.declare(std::move(hosts));
  std::fprintf(stderr, "proxy-renew: hosts of %s reloaded\n", path.c_str());
}

// Writes the metrics to a file every few seconds, whole each time; for collectors that read files.
class MetricsFile {
 public:
  MetricsFile(const Renewer& renewer, const std::string& path) {
    if (path.empty()) return;
    thread_ = std::jthread([&renewer, path](const std::stop_token& stop) {
      std::mutex idle;
      std::condition_variable_any wake;
      std::unique_lock waiting(idle);
      do {
        const std::string fresh = path + ".new";
        std::ofstream file(fresh);
        file << renewer.metrics();
        file.close();
        if (!file || std::rename(fresh.c_str(), path.c_str()) != 0) {
          std::fprintf(stderr, "proxy-renew: %s: cannot be written\n", path.c_str());
        }
        wake.wait_for(waiting, stop, std::chrono::seconds{15}, [] { return false; });
      } while (!stop.stop_requested());
    });
  }

 private:
  std::jthread thread_;
};

int serve(Renewer& renewer, const Arguments& given, Signals& signals) {
  const std::stop_callback stop(signals.token(), [&] { renewer.stop(); });
  signals.on_hangup([&] { reload(renewer, given.config); });
  const MetricsFile metrics(renewer, given.metrics);
  notify("READY=1");
  const auto done = renewer.run();
  signals.on_hangup({});
  return done ? 0 : complain(done.error());
}

int once(Renewer& renewer, const Signals& signals) {
  const auto summary = renewer.run_once(within(for_all, signals));
  if (!summary) return complain(summary.error());
  std::fprintf(stderr, "proxy-renew: %zu issued, %zu renewed, %zu failed, %zu for a later time\n",
               summary->issued, summary->renewed, summary->failed, summary->waiting);
  return summary->failed == 0 ? 0 : failed;
}

int list(proxycore::Store& store, const Arguments& given, const Signals& signals) {
  const auto stories = certificate_stories(store, within(for_the_store, signals));
  if (!stories) return complain(stories.error());
  bool found = false;
  for (const CertificateStory& story : *stories) {
    if (!given.name.empty() && story.name != given.name) continue;
    found = true;
    print(story, given.json, !given.name.empty());
  }
  if (found || given.name.empty()) return 0;
  return complain({proxycore::Errc::not_found, given.name + ": nothing has happened to it yet"});
}

int export_to(const Config& config, proxycore::Store& store, const Arguments& given,
              const Signals& signals) {
  using Layout = proxycore::CertificateLayout;
  const proxycore::CertificateExport wanted{
      .layout = given.layout == "certbot" ? Layout::certbot : Layout::certmagic,
      .directory = given.directory,
      .names = given.names,
      .replace = given.replace};
  const auto count = export_certificates(config, store, wanted, within(for_the_store, signals));
  if (!count) return complain(count.error());
  std::fprintf(stderr, "proxy-renew: %zu certificates are in %s\n", *count,
               given.directory.c_str());
  return 0;
}

int issue(Renewer& renewer, const Arguments& given, const Signals& signals) {
  const auto story = renewer.issue(given.name, within(for_one_certificate, signals));
  if (!story) return complain(story.error());
  print(*story, given.json, true);
  return 0;
}

int revoke(Renewer& renewer, const Arguments& given, const Signals& signals) {
  const auto done = renewer.revoke(given.name, given.reason, within(for_one_certificate, signals));
  if (!done) return complain(done.error());
  std::fprintf(stderr, "proxy-renew: %s is revoked\n", given.name.c_str());
  return 0;
}

int add_dns(Renewer& renewer, const Arguments& given, const Signals& signals) {
  auto settings = settings_of(given.settings);
  if (!settings) return complain(settings.error(), wrong_usage);
  const proxycore::DnsAccount account{.id = given.id,
                                      .name = given.label.empty() ? given.type : given.label,
                                      .type = given.type,
                                      .settings = *std::move(settings)};
  const auto saved = renewer.save_dns(account, within(for_one_certificate, signals));
  if (!saved) return complain(saved.error());
  std::printf("%s\n", saved->id.c_str());
  for (const std::string& zone : saved->zones) std::printf("  %s\n", zone.c_str());
  return 0;
}

int list_dns(Renewer& renewer, const Signals& signals) {
  const auto accounts = renewer.dns_accounts(within(for_the_store, signals));
  if (!accounts) return complain(accounts.error());
  for (const auto& account : *accounts) {
    std::printf("%s  %-14s %s\n", account.id.c_str(), account.type.c_str(), account.name.c_str());
    for (const std::string& zone : account.zones) std::printf("  %s\n", zone.c_str());
  }
  return 0;
}

int remove_dns(Renewer& renewer, const Arguments& given, const Signals& signals) {
  const auto removed = renewer.remove_dns(given.id, within(for_the_store, signals));
  if (!removed) return complain(removed.error());
  if (*removed) return 0;
  return complain({proxycore::Errc::not_found, given.id + ": no such account"});
}

int list_types(const Renewer& renewer) {
  for (const auto& info : renewer.dns_types()) {
    std::printf("%-14s", info.type.c_str());
    for (const auto& field : info.fields) {
      std::printf(" %s%s", field.name.c_str(), field.secret ? "!" : "");
    }
    std::printf("\n");
  }
  return 0;
}

int test_plugin(const Config& config, const Arguments& given, const Signals& signals) {
  const auto settings = settings_of(given.settings);
  if (!settings) return complain(settings.error(), wrong_usage);
  const auto good = Renewer::test_dns_plugin(
      config, given.plugin, *settings, given.zone,
      [](std::string_view line) {
        std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
        std::fflush(stdout);
      },
      within(for_one_certificate, signals));
  if (!good) return complain(good.error());
  return *good ? 0 : failed;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): only running out of memory would, and it ends us
int main(int argc, char** argv) {
  CLI::App app{
      "Gets certificates for the hosts of proxyd, and renews them.\n\nWithout a command it works "
      "until SIGTERM or SIGINT.",
      "proxy-renew"};
  Arguments given;
  app.set_version_flag("--version", "proxy-renew " + std::string(proxycore::version()));
  app.add_option("-c,--config", given.config, "The configuration file of proxyd (TOML)")
      ->type_name("FILE");
  app.add_flag("--once", given.once, "Do what is due now, and end: 1 if something failed");
  app.add_flag("--json", given.json, "Tell steps and stories as JSON, one object a line");
  app.add_option("--metrics", given.metrics, "Write metrics to this file every 15 seconds")
      ->type_name("FILE");
  app.require_subcommand(0, 1);

  CLI::App* lists = app.add_subcommand("list", "What is known of all certificates, or of one");
  lists->add_option("NAME", given.name, "app.example.com, or '*.example.com'");
  CLI::App* issues = app.add_subcommand("issue", "Get a certificate now, whatever its time");
  CLI::App* renews = app.add_subcommand("renew", "The same: a new one in place of the present");
  CLI::App* revokes = app.add_subcommand("revoke", "Tell the CA not to vouch for it any more");
  for (CLI::App* one : {issues, renews, revokes}) {
    one->add_option("NAME", given.name, "app.example.com, or '*.example.com'")->required();
  }
  revokes
      ->add_option("--reason", given.reason,
                   "0 unspecified, 1 key compromise, 3 affiliation changed, 4 superseded, 5 no "
                   "longer used")
      ->check(CLI::IsMember({0, 1, 3, 4, 5}));

  CLI::App* exports = app.add_subcommand(
      "export", "Write certificates and keys to files, as other software lays them out");
  exports->add_option("--layout", given.layout, "certbot or certmagic")
      ->required()
      ->check(CLI::IsMember({"certbot", "certmagic"}));
  exports->add_flag("--force", given.replace, "Replace files that are there already");
  exports->add_option("DIR", given.directory, "Where to")->required();
  exports->add_option("NAME", given.names, "Only these");

  CLI::App* dns = app.add_subcommand("dns", "Accounts at DNS providers, for wildcards");
  dns->require_subcommand(1);
  CLI::App* types = dns->add_subcommand("types",
                                        "Types of providers and what each wants to know; "
                                        "secrets end in '!'");
  CLI::App* accounts = dns->add_subcommand("list", "The accounts and their zones");
  CLI::App* adds = dns->add_subcommand("add", "Keep an account, once its credentials are good");
  adds->add_option("TYPE", given.type, "Cloudflare, rfc2136, ...")->required();
  adds->add_option("SETTING", given.settings, "NAME=VALUE; NAME=@FILE or NAME=- for secrets");
  adds->add_option("--name", given.label, "What you call it");
  adds->add_option("--id", given.id, "Change this account instead of adding one");
  CLI::App* removes = dns->add_subcommand("remove", "Forget an account");
  removes->add_option("ID", given.id, "As 'dns list' shows it")->required();

  CLI::App* plugin = app.add_subcommand("dns-plugin", "DNS providers of others");
  plugin->require_subcommand(1);
  CLI::App* tests = plugin->add_subcommand(
      "test", "Try on a zone of a test account whether a plugin keeps the contract");
  tests->add_option("FILE", given.plugin, "The shared object")->required();
  tests->add_option("--zone", given.zone, "Where records are made and removed")->required();
  tests->add_option("SETTING", given.settings, "NAME=VALUE; NAME=@FILE or NAME=- for secrets");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : wrong_usage;
  }
  if (given.config.empty()) {
    std::fputs("proxy-renew: expected --config FILE; see --help\n", stderr);
    return wrong_usage;
  }
  auto config = proxycore::load_config(given.config);
  if (!config) return complain(config.error(), wrong_usage);
  // Before the first thread: all of them leave the signals to it.
  Signals signals;
  if (tests->parsed()) return test_plugin(*config, given, signals);
  const auto store = proxycore::open_store(config->store.url);
  if (!store) return complain(store.error());
  if (lists->parsed()) return list(**store, given, signals);
  if (exports->parsed()) return export_to(*config, **store, given, signals);

  const bool asks_ca = !dns->parsed();
  if (asks_ca && !config->acme.enabled) {
    return complain({proxycore::Errc::invalid,
                     given.config + ": acme.enabled is false, so that no CA is asked anything"},
                    wrong_usage);
  }
  Renewer::Options options;
  const bool service = !given.once && app.get_subcommands().empty();
  if (given.json || (!service && isatty(STDERR_FILENO) != 0)) {
    options.progress = progress(given.json);
  }
  const auto renewer = Renewer::create(*config, **store, std::move(options));
  if (!renewer) return complain(renewer.error(), wrong_usage);
  if (types->parsed()) return list_types(**renewer);
  if (accounts->parsed()) return list_dns(**renewer, signals);
  if (adds->parsed()) return add_dns(**renewer, given, signals);
  if (removes->parsed()) return remove_dns(**renewer, given, signals);
  if (issues->parsed() || renews->parsed()) return issue(**renewer, given, signals);
  if (revokes->parsed()) return revoke(**renewer, given, signals);
  return service ? serve(**renewer, given, signals) : once(**renewer, signals);
}
