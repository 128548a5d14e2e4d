// DnsServer: a DNS server that a test plays: over UDP and TCP, on a free loopback port.
//
// By default it answers TXT questions from a table; a script of the test's own can say anything
// else. Not here: real servers (knot_server.h). Thread: its own answers; the rest, any.
#pragma once

#include "dns/message.h"
#include "io/address.h"
#include "support/sockets.h"

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

namespace proxycore::test {

// The answer to `query`: its id and question, `flags` beside QR, and TXT records.
inline std::string txt_answer(std::string_view query, std::uint16_t flags,
                              const std::vector<std::string>& values) {
  std::string wire(query.substr(0, 2));
  dns::append_u16(wire, static_cast<std::uint16_t>(0x8000U | flags));
  for (const std::size_t count : {std::size_t{1}, values.size(), std::size_t{0}, std::size_t{0}}) {
    dns::append_u16(wire, static_cast<std::uint16_t>(count));
  }
  wire.append(query.substr(12));
  for (const std::string& value : values) {
    dns::append_u16(wire, 0xC00C);  // the question's name
    dns::append_u16(wire, 16);
    dns::append_u16(wire, 1);
    dns::append_u32(wire, 60);
    dns::append_u16(wire, static_cast<std::uint16_t>(value.size() + 1));
    wire.push_back(static_cast<char>(value.size()));
    wire.append(value);
  }
  return wire;
}

class DnsServer {
 public:
  enum class Over { udp, tcp };
  // What is sent for a query: datagrams, or over TCP all of it, with its lengths.
  using Script = std::function<std::vector<std::string>(std::string_view query, Over over)>;

  DnsServer() : DnsServer(Script{}) {}
  explicit DnsServer(Script script) : script_(std::move(script)) {
    // A port of both kinds.
    for (int tries = 0; udp_.get() < 0; ++tries) {
      REQUIRE(tries < 100);
      tcp_ = Door();
      Fd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      const io::Address& address = tcp_.address;
      if (::bind(udp.get(), address.data(), address.size()) == 0) udp_ = std::move(udp);
    }
    thread_ = std::thread([this] { run(); });
  }
  ~DnsServer() {
    ::eventfd_write(end_.get(), 1);
    thread_.join();
  }
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  [[nodiscard]] const io::Address& address() const { return tcp_.address; }
  [[nodiscard]] std::string text() const { return tcp_.address.text(); }
  // How many questions came.
  [[nodiscard]] int asked() const { return asked_; }
  void set(const std::string& name, std::vector<std::string> values) {
    const std::lock_guard lock(mutex_);
    values_[name] = std::move(values);
  }

 private:
  std::vector<std::string> answers(std::string_view query, Over over) {
    ++asked_;
    if (script_) return script_(query, over);
    const auto message = dns::Message::parse(query);
    if (!message || message->questions.empty()) return {};
    const std::lock_guard lock(mutex_);
    const dns::Question& question = message->questions.front();
    const auto found = values_.find(question.name);
    const bool known = found != values_.end() && question.type == dns::Type::txt;
    std::string answer = txt_answer(query, 0x0400, known ? found->second : none_);
    if (over == Over::tcp) answer = framed(answer);
    return {answer};
  }
  static std::string framed(const std::string& message) {
    std::string all;
    dns::append_u16(all, static_cast<std::uint16_t>(message.size()));
    return all + message;
  }
  void run() {
    for (;;) {
      std::array<pollfd, 3> waited{
          {{udp_.get(), POLLIN, 0}, {tcp_.fd.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
      ::poll(waited.data(), waited.size(), -1);
      if (waited[2].revents != 0) return;
      if (waited[0].revents != 0) answer_datagram();
      if (waited[1].revents != 0) answer_connection();
    }
  }
  void answer_datagram() {
    std::array<char, 1024> room;
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    auto* const peer = reinterpret_cast<sockaddr*>(&from);
    const ssize_t count = ::recvfrom(udp_.get(), room.data(), room.size(), 0, peer, &size);
    if (count <= 0) return;
    for (const std::string& answer :
         answers({room.data(), static_cast<std::size_t>(count)}, Over::udp)) {
      ::sendto(udp_.get(), answer.data(), answer.size(), MSG_NOSIGNAL, peer, size);
    }
  }
  void answer_connection() {
    const Fd visitor = tcp_.accept();
    const std::string query = visitor.receive();
    if (query.size() < 2) return;
    for (const std::string& part : answers(std::string_view(query).substr(2), Over::tcp)) {
      ::send(visitor.get(), part.data(), part.size(), MSG_NOSIGNAL);
    }
  }

  const Script script_;
  Door tcp_;
  Fd udp_;
  const Fd end_{::eventfd(0, EFD_CLOEXEC)};
  std::atomic<int> asked_{0};
  std::mutex mutex_;
  std::map<std::string, std::vector<std::string>> values_;
  const std::vector<std::string> none_;
  std::thread thread_;
};

}  // namespace proxycore::test
