// A proxy inside a program of your own: one host, kept in memory, forwarded to a local port.
//
// usage: embed PORT TARGET_PORT
#include <proxycore/proxycore.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: embed PORT TARGET_PORT\n", stderr), 2;
  const int target = std::atoi(argv[2]);

  auto store = proxycore::open_memory();
  const proxycore::Host blog{.host = "**.example.test",
                             .ip = "127.0.0.1",
                             .target_port = static_cast<std::uint16_t>(target)};
  const auto by = proxycore::Deadline::in(proxycore::Millis{500});
  if (auto saved = proxycore::save(*store, blog, by); !saved) {
    return std::fprintf(stderr, "save: %s\n", saved.error().message().c_str()), 1;
  }

  proxycore::Config config;
  config.listen.http = {std::string("127.0.0.1:") + argv[1]};
  config.workers.count = 2;
  auto server = proxycore::Server::create(std::move(config), *store);
  if (!server) return std::fprintf(stderr, "%s\n", server.error().message().c_str()), 1;

  std::printf("listening on %s\n", (*server)->http_addresses().front().text().c_str());
  std::fflush(stdout);
  return (*server)->run() ? 0 : 1;
}
