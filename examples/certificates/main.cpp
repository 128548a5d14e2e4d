// Serving certificates from the program's own code: any name under example.test gets one of its
// own, made the first time somebody asks for it.
//
// usage: certificates PORT TARGET_PORT
// With 8443 for PORT, this visits it:
//   curl --insecure --resolve a.example.test:8443:127.0.0.1 https://a.example.test:8443/
#include <proxycore/proxycore.h>

#include <cstdio>
#include <cstdlib>

namespace {

class Maker final : public proxycore::CertSource {
 public:
  // Called on a thread of the server's, which may block here: only the clients that wait for this
  // name do. The server remembers the answer; one that is made differently next time needs no care.
  proxycore::Result<std::vector<proxycore::CertBundle>> find(
      std::string_view name, const proxycore::Deadline& /*by*/) override {
    if (!name.ends_with(".example.test") || name.starts_with('*')) {
      return proxycore::Error{proxycore::Errc::not_found};
    }
    PX_TRY(proxycore::CertBundle made, proxycore::self_signed({std::string(name)}));
    std::printf("made a certificate for %s\n", std::string(name).c_str());
    std::fflush(stdout);
    return std::vector<proxycore::CertBundle>{std::move(made)};
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: certificates PORT TARGET_PORT\n", stderr), 2;
  auto store = proxycore::open_memory();
  proxycore::Config config;
  config.listen.https = {std::string("127.0.0.1:") + argv[1]};
  config.hosts.push_back({{.host = "**.example.test",
                           .ip = "127.0.0.1",
                           .target_port = static_cast<std::uint16_t>(std::atoi(argv[2]))},
                          "main.cpp"});
  auto created = proxycore::Server::create(std::move(config), *store);
  if (!created) return std::fprintf(stderr, "%s\n", created.error().message().c_str()), 1;
  auto server = *std::move(created);

  Maker maker;
  if (!server->serve_certificates(maker)) return 1;
  std::printf("listening on %s\n", server->https_addresses().front().text().c_str());
  std::fflush(stdout);
  return server->run() ? 0 : 1;
}
