// Answering requests in the program itself, on an event loop that the program runs: one host is a
// Handler, the others would be forwarded.
//
// usage: handler PORT        Ctrl-C ends it.
#include <proxycore/proxycore.h>

#include <cstdio>

#include <uv.h>

namespace {

class Greeter final : public proxycore::Handler {
 public:
  // Runs on the worker's loop, so it must not block. `responder` may also be kept, and used later
  // from any thread.
  void handle(proxycore::Request request, proxycore::Responder responder) override {
    proxycore::Response response;
    response.fields = {{"Content-Type", "text/plain; charset=utf-8"}};
    response.body = "hello " + request.client_address + ", you asked for " + request.target + "\n";
    responder.respond(std::move(response));
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: handler PORT\n", stderr), 2;
  uv_loop_t loop;
  uv_loop_init(&loop);

  auto store = proxycore::open_memory();
  proxycore::Config config;
  config.listen.http = {std::string("127.0.0.1:") + argv[1]};
  auto created = proxycore::Server::create(std::move(config), *store);
  if (!created) return std::fprintf(stderr, "%s\n", created.error().message().c_str()), 1;
  auto server = *std::move(created);

  Greeter greeter;
  if (!server->mount("hello.example.test", greeter) || !server->attach(loop)) return 1;
  std::printf("listening on %s\n", server->http_addresses().front().text().c_str());
  std::fflush(stdout);

  uv_signal_t interrupt;
  uv_signal_init(&loop, &interrupt);
  uv_signal_start(
      &interrupt, [](uv_signal_t* signal, int) { uv_stop(signal->loop); }, SIGINT);
  uv_run(&loop, UV_RUN_DEFAULT);

  server.reset();  // closes everything on the loop; one more run lets it finish
  uv_close(reinterpret_cast<uv_handle_t*>(&interrupt), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop) == 0 ? 0 : 1;
}
