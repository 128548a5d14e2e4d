#include "dns/exchange.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <sys/random.h>
#include <sys/socket.h>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

Error failed(std::string_view doing, int code) {
  const Errc errc = code == ECONNREFUSED                  ? Errc::refused
                    : code == ECONNRESET || code == EPIPE ? Errc::closed
                                                          : Errc::io;
  return {errc, fmt::format("{}: {}", doing, std::strerror(code))};
}

Error within_server(Error error, const io::Address& server) {
  return std::move(error).within("dns server " + server.text());
}

// Whether `answer` is one to `query`: with its id and its question.
bool answers(const Message& answer, std::string_view query) {
  const auto asked = Message::parse(query);
  return asked && answer.response && answer.id == asked->id && answer.opcode == asked->opcode &&
         (answer.questions == asked->questions ||
          (answer.questions.empty() && answer.rcode != Rcode::ok));
}

Result<void> write_all(const io::Fd& socket, std::string_view bytes, io::Poll& poll,
                       const Deadline& by) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return failed("send", errno);
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    if (count < 0) PX_CHECK(poll.wait(socket, POLLOUT, by));
  }
  return {};
}

Result<std::string> read_exactly(const io::Fd& socket, std::size_t size, io::Poll& poll,
                                 const Deadline& by) {
  std::string bytes(size, '\0');
  for (std::size_t have = 0; have < size;) {
    if (by.passed()) return Error{Errc::timeout, "no answer in time"};
    PX_CHECK(poll.wait(socket, POLLIN, by));
    const ssize_t count = ::recv(socket.get(), bytes.data() + have, size - have, MSG_DONTWAIT);
    if (count == 0) return Error{Errc::closed, "it ended the connection"};
    if (count < 0 && errno != EAGAIN && errno != EINTR) return failed("receive", errno);
    if (count > 0) have += static_cast<std::size_t>(count);
  }
  return bytes;
}

}  // namespace

std::uint16_t Exchange::random_id() {
  std::uint16_t id = 0;
  while (::getrandom(&id, sizeof id, 0) != sizeof id) {
  }
  return id;
}

Result<Message> Exchange::ask(const io::Address& server, const Question& question, bool recurse,
                              const Deadline& by) {
  PX_TRY(const std::string query, make_query(random_id(), question, recurse));
  auto answer = ask_by_datagram(server, query, by);
  if (!answer) return within_server(std::move(answer).error(), server);
  if (!answer->truncated) return answer;
  PX_TRY(const std::string bytes, send(server, query, by));
  auto whole = Message::parse(bytes);
  if (!whole) return within_server(std::move(whole).error(), server);
  if (!answers(*whole, query) || whole->truncated) {
    return within_server({Errc::protocol, "an answer to something else"}, server);
  }
  return whole;
}

Result<Message> Exchange::ask_by_datagram(const io::Address& server, std::string_view query,
                                          const Deadline& by) {
  // Connected, so that the kernel lets only this server's datagrams in, and says who is not there.
  const io::Fd socket(::socket(server.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return failed("socket", errno);
  if (::connect(socket.get(), server.data(), server.size()) != 0) return failed("connect", errno);
  Millis patience = first_patience;
  for (int sent = 0; sent < datagrams; ++sent, patience *= 2) {
    if (::send(socket.get(), query.data(), query.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
      return failed("send", errno);
    }
    const Deadline until{std::min(by.at(), Deadline::Clock::now() + patience), by.stop()};
    while (!until.passed()) {
      if (auto ready = poll_.wait(socket, POLLIN, until); !ready) {
        if (ready.error().code != Errc::timeout) return std::move(ready).error();
        break;
      }
      std::array<char, 4096> room;
      const ssize_t count = ::recv(socket.get(), room.data(), room.size(), MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN && errno != EINTR) return failed("receive", errno);
      if (count <= 0) continue;
      auto answer = Message::parse({room.data(), static_cast<std::size_t>(count)});
      // Anything else may be somebody's guess, or an answer that comes late.
      if (answer && answers(*answer, query)) return answer;
    }
    if (by.passed()) break;
  }
  if (by.cancelled()) return Error{Errc::cancelled};
  return Error{Errc::timeout, "no answer in time"};
}

Result<std::string> Exchange::send(const io::Address& server, std::string_view wire,
                                   const Deadline& by) {
  const auto talk = [&]() -> Result<std::string> {
    PX_TRY(const io::Fd socket, io::connect({&server, 1}, poll_, by));
    std::string framed;
    append_u16(framed, static_cast<std::uint16_t>(wire.size()));
    framed.append(wire);
    PX_CHECK(write_all(socket, framed, poll_, by));
    PX_TRY(const std::string size, read_exactly(socket, 2, poll_, by));
    const auto count = static_cast<std::size_t>(static_cast<unsigned char>(size[0]) << 8U |
                                                static_cast<unsigned char>(size[1]));
    return read_exactly(socket, count, poll_, by);
  };
  auto answer = talk();
  if (!answer) return within_server(std::move(answer).error(), server);
  return answer;
}

}  // namespace proxycore::dns
