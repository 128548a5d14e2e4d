// A program outside the tree: it knows what was installed, through pkg-config, and nothing else.
// It serves one host by a handler of its own, asks it over a socket, and prints the answer.
#include <proxycore/proxycore.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

class Greeting final : public proxycore::Handler {
 public:
  void handle(proxycore::Request request, proxycore::Responder responder) override {
    responder.respond({.status = 200,
                       .fields = {{"Content-Type", "text/plain"}},
                       .body = "hello, " + request.host + "\n"});
  }
};

std::string ask(std::uint16_t port, std::string_view request) {
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      write(connection, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
    char part[4096];
    for (ssize_t got = 0; (got = read(connection, part, sizeof part)) > 0;) {
      answer.append(part, static_cast<std::size_t>(got));
    }
  }
  close(connection);
  return answer;
}

}  // namespace

int main() {
  proxycore::HostTrie<int> hosts;
  if (!hosts.insert("**.example.test", 1) || hosts.match("a.b.example.test") == nullptr) return 1;

  proxycore::Config config;
  config.listen.http = {"127.0.0.1:0"};
  config.log.access = "off";
  config.workers.count = 1;
  const auto store = proxycore::open_memory();
  Greeting greeting;
  auto server = proxycore::Server::create(config, *store);
  if (!server) {
    std::fprintf(stderr, "outside: %s\n", server.error().detail.c_str());
    return 1;
  }
  if (!(*server)->mount("outside.test", greeting)) return 1;
  std::thread serving([&server = **server] { static_cast<void>(server.run()); });
  const std::string answer =
      ask((*server)->http_addresses().front().port,
          "GET / HTTP/1.1\r\nHost: outside.test\r\nConnection: close\r\n\r\n");
  (*server)->stop();
  serving.join();
  std::printf("%s", answer.c_str());
  return 0;
}
