#include "support/forward_proxy.h"

#include "base/text.h"
#include "client/http_client.h"

#include <array>
#include <optional>
#include <utility>

#include <poll.h>

namespace proxycore::test {

namespace {

Fd connected_to(std::uint16_t port) {
  const auto to = *io::Address::parse("127.0.0.1", port);
  Fd socket(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), to.data(), to.size()) != 0) socket.close();
  return socket;
}

bool sent(const Fd& to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::string field_of(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(line.size() + 2, head.size()));
    const std::size_t colon = line.find(':');
    if (base::same(line.substr(0, colon), name) && colon != std::string_view::npos) {
      return std::string(base::trim(line.substr(colon + 1)));
    }
  }
  return {};
}

}  // namespace

class ForwardProxy::Visit {
 public:
  Visit(ForwardProxy& proxy, Fd socket)
      : proxy_(proxy), socket_(std::move(socket)), thread_([this] { run(); }) {}
  ~Visit() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  void run() {
    std::string unread;
    for (;;) {
      const std::size_t end = unread.find("\r\n\r\n");
      const std::size_t size =
          end == std::string::npos
              ? 0
              : base::parse_decimal(field_of(unread.substr(0, end), "Content-Length")).value_or(0);
      if (end == std::string::npos || unread.size() < end + 4 + size) {
        const std::string got = socket_.receive();
        if (got.empty()) return;
        unread += got;
        continue;
      }
      const std::string head = unread.substr(0, end);
      const std::string body = unread.substr(end + 4, size);
      unread.erase(0, end + 4 + size);
      if (!serve(head, body)) break;
    }
    ::shutdown(socket_.get(), SHUT_RDWR);
  }

  // false: the connection is over.
  bool serve(const std::string& head, const std::string& body) {
    const std::string line = head.substr(0, head.find(" HTTP/1.1"));
    {
      const std::lock_guard lock(proxy_.mutex_);
      proxy_.asked_.push_back(line);
    }
    const Options& options = proxy_.options_;
    if (!options.credentials.empty() &&
        field_of(head, "Proxy-Authorization") != "Basic " + base::base64(options.credentials)) {
      sent(socket_, "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
      return false;
    }
    if (!options.answer.empty()) {
      sent(socket_, options.answer);
      return false;
    }
    if (line.starts_with("CONNECT ")) {
      tunnel(line.substr(line.rfind(':') + 1));
      return false;
    }
    return forward(line, head, body);
  }

  void tunnel(const std::string& port) {
    const Fd far = connected_to(static_cast<std::uint16_t>(base::parse_decimal(port).value_or(0)));
    if (far.get() < 0) {
      sent(socket_, "HTTP/1.1 502 Nobody there\r\n\r\n");
      return;
    }
    sent(socket_, "HTTP/1.1 200 Go on\r\nX-Way: tunnel\r\n\r\n");
    for (;;) {
      std::array<pollfd, 2> both{
          {{.fd = socket_.get(), .events = POLLIN, .revents = 0}, {far.get(), POLLIN, 0}}};
      if (::poll(both.data(), both.size(), -1) < 0) return;
      if (both[0].revents != 0 && !passed(socket_, far)) return;
      if (both[1].revents != 0 && !passed(far, socket_)) return;
    }
  }
  static bool passed(const Fd& from, const Fd& to) {
    const std::string got = from.receive();
    return !got.empty() && sent(to, got);
  }

  bool forward(const std::string& line, const std::string& head, const std::string& body) {
    const auto url = client::Url::parse(line.substr(line.find(' ') + 1));
    if (!url) return sent(socket_, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
    client::Request request{.method = line.substr(0, line.find(' ')),
                            .url = "http://127.0.0.1:" + std::to_string(url->port) + url->target,
                            .body = body};
    for (const std::string name : {"Content-Type", "Accept", "User-Agent"}) {
      const std::string value = field_of(head, name);
      if (!value.empty()) request.headers.push_back({name, value});
    }
    client::HttpClient http;
    const auto response = http.send(request, Deadline::in(Seconds{20}));
    if (!response) return sent(socket_, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
    std::string text = "HTTP/1.1 " + std::to_string(response->status) + " Because\r\n";
    for (const client::Header& header : response->headers) {
      if (base::same(header.name, "Content-Length") || base::same(header.name, "Connection")) {
        continue;
      }
      text += header.name + ": " + header.value + "\r\n";
    }
    if (response->status != 204) {
      text += "Content-Length: " + std::to_string(response->body.size()) + "\r\n";
    }
    return sent(socket_, text + "\r\n" + response->body);
  }

  ForwardProxy& proxy_;
  const Fd socket_;
  std::thread thread_;
};

ForwardProxy::ForwardProxy(Options options) : options_(std::move(options)) {
  accepting_ = std::thread([this] { accept(); });
}

ForwardProxy::~ForwardProxy() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ::shutdown(door_.fd.get(), SHUT_RDWR);
  accepting_.join();
  visits_.clear();
}

std::string ForwardProxy::url() const {
  const std::string who = options_.credentials.empty() ? "" : options_.credentials + "@";
  return "http://" + who + place();
}

std::vector<std::string> ForwardProxy::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

void ForwardProxy::accept() {
  for (;;) {
    Fd socket = door_.accept();
    const std::lock_guard lock(mutex_);
    if (ending_ || socket.get() < 0) return;
    visits_.emplace_back(*this, std::move(socket));
  }
}

}  // namespace proxycore::test
