#include "support/proxy_rig.h"

#include "io/listener.h"
#include "support/turns.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include <sys/socket.h>

#include <doctest/doctest.h>

namespace proxycore::test {

Peer::Peer(ProxyRig& rig, Fd fd) : rig_(&rig), fd_(std::move(fd)) {
  fd_.set_blocking(false);
}

void Peer::send(std::string_view text) {
  text.remove_prefix(send_some(text));
  if (text.empty()) return;
  rig_->until([&] {
    text.remove_prefix(send_some(text));
    return text.empty();
  });
}

std::size_t Peer::send_some(std::string_view text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t count = ::send(fd_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) break;
    REQUIRE_MESSAGE(count > 0, "the worker does not take what is sent");
    sent += static_cast<std::size_t>(count);
  }
  return sent;
}

void Peer::pump(std::size_t most) {
  static char buffer[1 << 16];
  while (reading_ && !ended_ && most > 0) {
    const ssize_t count = ::recv(fd_.get(), buffer, std::min(sizeof buffer, most), 0);
    if (count > 0) {
      in_.append(buffer, static_cast<std::size_t>(count));
      most -= static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EAGAIN) return;
    ended_ = true;
    reset_ = count < 0;
  }
}

std::string Peer::until(std::string_view mark) {
  std::size_t at = std::string::npos;
  std::size_t searched = 0;
  rig_->until([&] {
    pump();
    if (at == std::string::npos) {
      at = in_.find(mark, searched > mark.size() ? searched - mark.size() : 0);
      searched = in_.size();
    }
    return at != std::string::npos || ended_;
  });
  REQUIRE_MESSAGE(at != std::string::npos, "the connection ended before '", std::string(mark),
                  "', after: ", in_.substr(0, 2000));
  return take(at + mark.size());
}

std::string Peer::take(std::size_t size) {
  rig_->until([&] {
    pump();
    return in_.size() >= size || ended_;
  });
  REQUIRE_MESSAGE(in_.size() >= size, "the connection ended after: ", in_.substr(0, 2000));
  std::string part = in_.substr(0, size);
  in_.erase(0, size);
  return part;
}

std::string Peer::message() {
  std::string all = head();
  const std::string length = field_of(all, "Content-Length");
  if (length != "-") all += take(std::stoul(length));
  return all;
}

std::string Peer::rest() {
  rig_->until([&] {
    pump();
    return ended_;
  });
  CHECK_MESSAGE(!reset_, "the connection was reset, after: ", in_.substr(0, 2000));
  return std::exchange(in_, {});
}

bool Peer::gone() {
  rig_->until([&] {
    pump();
    return ended_;
  });
  return in_.empty();
}

bool Peer::quiet() {
  rig_->turns();
  pump();
  return in_.empty() && !ended_;
}

Origin::Origin(ProxyRig& rig) : rig_(rig) {
  door_.fd.set_blocking(false);
}

Peer Origin::accept() {
  Fd fd;
  rig_.until([&] {
    if (fd.get() < 0) fd = door_.accept();
    return fd.get() >= 0;
  });
  return {rig_, std::move(fd)};
}

bool Origin::nobody_comes() {
  rig_.turns();
  return door_.accept().get() < 0;
}

ProxyRig::ProxyRig(const Change& change, io::Resolver::Query resolver,
                   std::vector<proxy::MakeTier> tiers)
    : origin(*this), ids_(10) {
  config.log.access = "off";
  config.limits.connections = 1000;
  if (change) change(config);
  if (config.log.access != "off") {
    log_ = *base::LineWriter::open(directory_.file("access.log"));
  }
  shared_.reset(new proxy::Shared{
      config,
      {},
      {},
      proxy::Admission(config.limits.connections, config.limits.connections_per_address)});
  shared_->access_writer = log_.get();
  shared_->resolver = std::move(resolver);
  shared_->tiers = std::move(tiers);
  for (const std::string& text : config.forwarding.trusted) {
    shared_->trust.networks.push_back(*io::Network::parse(text));
  }
  worker_ = std::make_unique<proxy::Worker>(*shared_, nullptr, nullptr);
  const auto listen = [&](proxy::Service service) {
    const int fd = *io::listen_on({.address = "127.0.0.1"}, 128, 0);
    worker_->listen({fd, false, service});
    return io::bound_port(fd);
  };
  port_ = listen(proxy::Service::proxy);
  admin_port_ = listen(proxy::Service::admin);
  add_host({.host = "a.test", .ip = "127.0.0.1", .target_port = origin.port()});
}

void ProxyRig::add_host(Host host) {
  std::erase_if(hosts_, [&](const Host& known) { return known.host == host.host; });
  hosts_.push_back(std::move(host));
  publish();
}

void ProxyRig::remove_host(std::string_view name) {
  std::erase_if(hosts_, [&](const Host& known) { return known.host == name; });
  publish();
}

void ProxyRig::publish() {
  host::RouteTable::Builder builder(ids_);
  for (const Host& host : hosts_) REQUIRE(builder.add(host, "the test"));
  worker_->set_routes(builder.finish());
  turns();
}

void ProxyRig::mount(std::string_view pattern, Handler& handler) {
  REQUIRE(shared_->mounts.insert(pattern, &handler));
}

void ProxyRig::set_tls_port(std::uint16_t port) {
  shared_->tls_port = port;
}

void ProxyRig::set_admin(Handler& handler) {
  shared_->admin = &handler;
}

void ProxyRig::set_challenges(Handler& handler) {
  shared_->challenges = &handler;
}

namespace {

Fd connected(std::string_view from, std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto own = *io::Address::parse(from, 0);
  const auto to = *io::Address::parse("127.0.0.1", port);
  REQUIRE(::bind(fd.get(), own.data(), own.size()) == 0);
  if (::connect(fd.get(), to.data(), to.size()) != 0) fd.close();
  return fd;
}

}  // namespace

Peer ProxyRig::client(std::string_view from) {
  Fd fd = connected(from, port_);
  REQUIRE(fd.get() >= 0);
  return {*this, std::move(fd)};
}

Peer ProxyRig::admin_client() {
  Fd fd = connected("127.0.0.1", admin_port_);
  REQUIRE(fd.get() >= 0);
  return {*this, std::move(fd)};
}

std::unique_ptr<MemoryTransport> ProxyRig::memory_client(std::string alpn, std::size_t room,
                                                         bool open) {
  auto [client, server] = MemoryTransport::pair(worker_->loop(), room);
  server->open_later(std::move(alpn));
  if (open) server->open();
  const auto address = *io::Address::parse("127.0.0.1", 0);
  const bool admitted = shared_->admission.enter(address) == proxy::Admitted::yes;
  worker_->take(std::move(server), {.peer = address, .tls = true, .surplus = !admitted});
  return std::move(client);
}

bool ProxyRig::refuses() const {
  return connected("127.0.0.1", port_).get() < 0;
}

void ProxyRig::until(const std::function<bool()>& holds) {
  // Most of what is waited for comes within a few turns that need not wait themselves.
  for (int i = 0; i < 8; ++i) {
    if (holds()) return;
    turns(1);
  }
  run_until(worker_->loop(), [&] {
    turns(2);
    return holds();
  });
}

void ProxyRig::turns(int count) {
  run_turns(worker_->loop(), count);
}

void ProxyRig::pass(Millis span) {
  io::Loop& loop = worker_->loop();
  const std::int64_t end = loop.now() + span.count();
  until([&] { return loop.now() >= end; });
}

std::string ProxyRig::read_log() const {
  std::ifstream file(directory_.file("access.log"), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string ProxyRig::end_and_read_log() {
  worker_.reset();
  log_.reset();
  return read_log();
}

std::string get(std::string_view target, std::string_view lines) {
  std::string text = "GET ";
  return text.append(target).append(" HTTP/1.1\r\nHost: a.test\r\n").append(lines).append("\r\n");
}

std::string post(std::string_view body, std::string_view lines) {
  std::string text = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ";
  text.append(std::to_string(body.size())).append("\r\n").append(lines).append("\r\n");
  return text.append(body);
}

std::string ok(std::string_view body, std::string_view lines) {
  std::string text = "HTTP/1.1 200 OK\r\nContent-Length: ";
  text.append(std::to_string(body.size())).append("\r\n").append(lines).append("\r\n");
  return text.append(body);
}

int status_of(std::string_view response) {
  if (response.size() < 12 || response.substr(0, 9) != "HTTP/1.1 ") return 0;
  return std::atoi(std::string(response.substr(9, 3)).c_str());
}

std::string field_of(std::string_view message, std::string_view name) {
  const std::string line = "\r\n" + std::string(name) + ": ";
  const std::string_view head = message.substr(0, message.find("\r\n\r\n") + 2);
  const std::size_t at = head.find(line);
  if (at == std::string_view::npos) return "-";
  const std::size_t begin = at + line.size();
  return std::string(head.substr(begin, head.find("\r\n", begin) - begin));
}

}  // namespace proxycore::test
