// dying_renewer: does once what proxy-renew does, and may kill itself on the way, for the
// end-to-end tests.
//
//   dying_renewer CONFIG [STEP [AHEAD]]
//
// With STEP ("validate", ...) it ends by SIGKILL right before that step of the first certificate;
// its clock is AHEAD seconds ahead.
// Names that a dead one held are free after a second.
#include <proxycore/config.h>
#include <proxycore/renew.h>
#include <proxycore/store.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

int main(int argc, char** argv) {
  using namespace proxycore;
  const auto config = load_config(argv[1]);
  if (!config) return std::fprintf(stderr, "%s\n", config.error().message().c_str()), 2;
  const auto store = open_store(config->store.url);
  if (!store) return std::fprintf(stderr, "%s\n", store.error().message().c_str()), 2;
  Renewer::Options options;
  options.lease = Seconds{1};
  options.pace = Millis{0};
  options.progress = [last = std::string(argc > 2 ? argv[2] : "")](
                         std::string_view name, std::string_view step, std::string_view detail) {
    std::fprintf(stderr, "%.*s: %.*s %.*s\n", static_cast<int>(name.size()), name.data(),
                 static_cast<int>(step.size()), step.data(), static_cast<int>(detail.size()),
                 detail.data());
    if (step == last) raise(SIGKILL);
  };
  const std::int64_t ahead = argc > 3 ? std::atoll(argv[3]) : 0;
  options.now_ms = [ahead] { return (std::time(nullptr) + ahead) * 1'000; };
  const auto renewer = Renewer::create(*config, **store, std::move(options));
  if (!renewer) return std::fprintf(stderr, "%s\n", renewer.error().message().c_str()), 2;
  const auto summary = (*renewer)->run_once(Deadline::in(Seconds{60}));
  if (!summary) return std::fprintf(stderr, "%s\n", summary.error().message().c_str()), 1;
  std::printf("issued %zu renewed %zu failed %zu\n", summary->issued, summary->renewed,
              summary->failed);
  return 0;
}
