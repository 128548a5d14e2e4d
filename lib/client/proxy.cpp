#include "client/proxy.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <sys/socket.h>

#include <fmt/format.h>

namespace proxycore::client {

namespace {

constexpr std::string_view scheme = "http://";
constexpr std::size_t max_head = 16 << 10;  // bytes of a proxy's answer

Error wrong(std::string_view part, std::string_view expected) {
  return {Errc::invalid, fmt::format("proxy: {}: expected {}", part, expected)};
}

// What %XX stand for (RFC 3986 §2.1).
Result<std::string> decoded(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::array<unsigned char, 1> byte{};
    if (text[at] != '%') {
      plain += text[at];
    } else if (base::parse_hex(text.substr(at + 1, 2), byte)) {
      plain += static_cast<char>(byte[0]);
      at += 2;
    } else {
      return wrong("user information", "two hex digits after each '%'");
    }
  }
  return plain;
}

Result<std::string> basic(std::string_view information) {
  const std::size_t colon = information.find(':');
  if (colon == std::string_view::npos) return wrong("user information", "user:password");
  PX_TRY(const std::string user, decoded(information.substr(0, colon)));
  PX_TRY(const std::string password, decoded(information.substr(colon + 1)));
  // RFC 7617 §2.
  if (user.find(':') != std::string::npos) return wrong("user", "no ':'");
  return "Basic " + base::base64(user + ":" + password);
}

Error broken(int code) {
  if (code == ECONNRESET || code == EPIPE) return {Errc::closed, "the connection was reset"};
  return {Errc::io, std::strerror(code)};
}

Result<void> send_all(const io::Fd& socket, io::Poll& poll, std::string_view text,
                      const Deadline& by) {
  while (!text.empty()) {
    const ssize_t count = ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      text.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      PX_CHECK(poll.wait(socket, POLLOUT, by));
    } else if (errno != EINTR) {
      return broken(errno);
    }
  }
  return {};
}

// A head, with nothing after it: whoever is behind the proxy waits for our first word.
Result<std::string> receive_head(const io::Fd& socket, io::Poll& poll, const Deadline& by) {
  constexpr std::string_view end = "\r\n\r\n";
  std::string head;
  std::array<char, 4096> room;
  for (;;) {
    if (by.passed()) return Error{Errc::timeout, "no answer in time"};
    PX_CHECK(poll.wait(socket, POLLIN, by));
    const ssize_t count = ::recv(socket.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (count == 0) return Error{Errc::closed, "the connection ended"};
    if (count < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      return broken(errno);
    }
    head.append(room.data(), static_cast<std::size_t>(count));
    if (head.find(end) != std::string::npos) return head;
    if (head.size() > max_head) return Error{Errc::limit, "its answer has no end"};
  }
}

Result<std::uint64_t> status_of(std::string_view head) {
  constexpr std::size_t version = std::string_view("HTTP/1.1 ").size();
  const auto status = base::parse_decimal(head.substr(std::min(version, head.size()), 3), 599);
  if (!head.starts_with("HTTP/1.") || !status || *status < 100) {
    return Error{Errc::protocol, "its answer is not HTTP"};
  }
  return *status;
}

Result<void> ask(const io::Fd& socket, io::Poll& poll, const Proxy& proxy, const Url& target,
                 const Deadline& by) {
  const std::string place = fmt::format("{}:{}", target.host, target.port);
  std::string request = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", place);
  if (!proxy.credentials.empty()) {
    request += fmt::format("Proxy-Authorization: {}\r\n", proxy.credentials);
  }
  request += "\r\n";
  PX_CHECK(send_all(socket, poll, request, by));
  PX_TRY(const std::string head, receive_head(socket, poll, by));
  PX_TRY(const std::uint64_t status, status_of(head));
  if (status == 407) return Error{Errc::denied, "it wants other credentials (status 407)"};
  if (status >= 400 && status < 500) {
    return Error{Errc::denied, fmt::format("it does not let us there (status {})", status)};
  }
  if (status < 200 || status > 299) {
    return Error{Errc::refused, fmt::format("it did not get there (status {})", status)};
  }
  if (!head.ends_with("\r\n\r\n")) {
    return Error{Errc::protocol, "it sent more than the answer to CONNECT"};
  }
  return {};
}

}  // namespace

Result<Proxy> Proxy::parse(std::string_view text) {
  Proxy proxy;
  proxy.url = text;
  if (!text.starts_with(scheme)) return wrong("scheme", "http://");
  text.remove_prefix(scheme.size());
  const std::string_view authority = text.substr(0, text.find_first_of("/?#"));
  const std::size_t at = authority.rfind('@');
  if (at != std::string_view::npos) {
    PX_TRY(proxy.credentials, basic(authority.substr(0, at)));
    text.remove_prefix(at + 1);
  }
  auto url = Url::parse(std::string(scheme).append(text));
  if (!url) return std::move(url).error().within("proxy");
  proxy.at = *std::move(url);
  if (proxy.at.target != "/") return wrong("path", "none");
  return proxy;
}

Result<void> open_tunnel(const io::Fd& socket, io::Poll& poll, const Proxy& proxy,
                         const Url& target, const Deadline& by) {
  auto open = ask(socket, poll, proxy, target, by);
  if (!open) return std::move(open).error().within("the proxy " + proxy.at.describe());
  return {};
}

}  // namespace proxycore::client
