#include "support/http_server.h"

#include "base/text.h"
#include "support/openssl_peer.h"

#include <array>
#include <memory>
#include <optional>

namespace proxycore::test {

namespace {

std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::array<unsigned char, 1> byte{};
    if (text[at] == '%' && base::parse_hex(text.substr(at + 1, 2), byte)) {
      plain += static_cast<char>(byte[0]);
      at += 2;
    } else {
      plain += text[at] == '+' ? ' ' : text[at];
    }
  }
  return plain;
}

// Cuts `text` at the first `mark`; what is before, and `text` keeps what is behind.
std::string_view cut(std::string_view& text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  const std::string_view before = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view{} : text.substr(at + mark.size());
  return before;
}

// Takes a request off the front of `text`; nullopt: it is not complete.
std::optional<Ask> take_request(std::string& text) {
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  std::string_view head(text.data(), end);
  Ask ask;
  std::string_view line = cut(head, "\r\n");
  ask.method = cut(line, " ");
  ask.target = cut(line, " ");
  while (!head.empty()) {
    std::string_view field = cut(head, "\r\n");
    const std::string_view name = cut(field, ":");
    ask.headers.emplace_back(name, base::trim(field));
  }
  const std::size_t size = base::parse_decimal(ask.header("Content-Length")).value_or(0);
  const std::size_t from = end + 4;
  if (text.size() < from + size) return std::nullopt;
  ask.body = text.substr(from, size);
  text.erase(0, from + size);
  return ask;
}

std::string written(const Reply& reply, bool to_head) {
  if (!reply.raw.empty()) return reply.raw;
  std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Because\r\n";
  for (const auto& [name, value] : reply.headers) text += name + ": " + value + "\r\n";
  if (reply.status != 204 && reply.status != 304) {
    text += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  }
  if (reply.close) text += "Connection: close\r\n";
  text += "\r\n";
  return to_head ? text : text + reply.body;
}

}  // namespace

std::string Ask::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (base::same(key, name)) return value;
  }
  return {};
}

std::string Ask::path() const {
  return decoded(std::string_view(target).substr(0, target.find('?')));
}

std::string Ask::parameter(std::string_view name) const {
  std::string_view rest = target;
  cut(rest, "?");
  while (!rest.empty()) {
    std::string_view pair = cut(rest, "&");
    if (decoded(cut(pair, "=")) == name) return decoded(pair);
  }
  return {};
}

// One who has connected.
class HttpServer::Visit {
 public:
  Visit(HttpServer& server, Fd socket) : server_(server), socket_(std::move(socket)) {
    if (!server.options_.certificate.chain_pem.empty()) {
      tls_ = std::make_unique<OpensslPeer>(OpensslOptions{
          .server = true, .alpn = {"http/1.1"}, .certificate = server.options_.certificate});
    }
    thread_ = std::thread([this] { run(); });
  }
  ~Visit() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  void run() {
    std::string unread;
    while (read_some(unread)) {
      while (const auto ask = take_request(unread)) {
        const Reply reply = server_.answer(*ask);
        write(written(reply, ask->method == "HEAD"));
        if (reply.close || !reply.raw.empty()) {
          if (tls_) tls_->close();
          flush();
          ::shutdown(socket_.get(), SHUT_WR);
          while (!socket_.receive().empty()) {
          }
          return;
        }
      }
    }
    ::shutdown(socket_.get(), SHUT_RDWR);
  }
  bool read_some(std::string& into) {
    const std::string got = socket_.receive();
    if (got.empty()) return false;
    if (!tls_) {
      into += got;
      return true;
    }
    tls_->in += got;
    tls_->step();
    flush();
    into += std::exchange(tls_->received, {});
    return tls_->error().empty() && !tls_->ended();
  }
  void write(const std::string& text) {
    if (tls_) {
      if (!text.empty()) tls_->write(text);
      flush();
    } else {
      send(text);
    }
  }
  void flush() {
    if (tls_) send(std::exchange(tls_->out, {}));
  }
  void send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the client may go when it likes
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  HttpServer& server_;
  Fd socket_;
  std::unique_ptr<OpensslPeer> tls_;
  std::thread thread_;
};

HttpServer::HttpServer(Handler handler, Options options)
    : handler_(std::move(handler)), options_(std::move(options)), door_(options_.ip) {
  accepting_ = std::thread([this] { accept(); });
}

HttpServer::~HttpServer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ::shutdown(door_.fd.get(), SHUT_RDWR);
  accepting_.join();
  visits_.clear();
}

std::string HttpServer::url(std::string_view target) const {
  const std::string scheme = options_.certificate.chain_pem.empty() ? "http://" : "https://";
  const std::string host =
      options_.name.empty() ? door_.address.text() : options_.name + ":" + std::to_string(port());
  return scheme + host + std::string(target);
}

void HttpServer::accept() {
  for (;;) {
    Fd socket = door_.accept();
    const std::lock_guard lock(mutex_);
    if (ending_ || socket.get() < 0) return;
    ++connections_;
    visits_.emplace_back(*this, std::move(socket));
  }
}

Reply HttpServer::answer(const Ask& ask) {
  const std::lock_guard lock(asking_);
  ++requests_;
  return handler_(ask);
}

}  // namespace proxycore::test
