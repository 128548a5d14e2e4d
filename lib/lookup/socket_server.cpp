#include "lookup/socket_server.h"

#include "base/chain.h"
#include "base/log.h"
#include "io/socket.h"
#include "lookup/socket_protocol.h"
#include <proxycore/host.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace proxycore::lookup {

namespace {

constexpr std::uint32_t backlog = 512;
constexpr std::uint32_t mode = 0660;
// Replies that wait for their client; over it none of its requests is read or answered.
constexpr std::size_t full = std::size_t{64} << 10;
// A client that did something so lately is not sent away for another one.
constexpr std::int64_t busy_for = 1'000;  // milliseconds

// Whether only names with a host of their own are to be answered by this wildcard.
bool wants_no_other_names(const Record& wildcard) {
  const auto any = wildcard.find("wildcard_matchAny");
  if (any == wildcard.end() || any->second != "false") return false;
  const auto is_wildcard = wildcard.find("is_wildcard");
  return is_wildcard != wildcard.end() && is_wildcard->second != "false";
}

std::string peer_of(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unknown";
  return "pid " + std::to_string(peer.pid) + " uid " + std::to_string(peer.uid) + " gid " +
         std::to_string(peer.gid);
}

// The canonical form of what was asked for; empty: no host has that name.
std::string canonical(std::string_view domain) {
  const bool is_pattern = domain.find('*') != std::string_view::npos;
  if (is_pattern) return HostName::canonical_pattern(domain).value_or(std::string());
  std::string scratch;
  return std::string(HostName::normalize(domain, scratch));
}

}  // namespace

// One connection.
class SocketServer::Client final : public base::ListNode<>,
                                   public io::Retired,
                                   io::Transport::Owner {
 public:
  Client(SocketServer& server, std::unique_ptr<io::Socket> socket)
      : server_(server),
        out_(server.loop_.slabs()),
        socket_(std::move(socket)),
        timer_(server.loop_.timers(), *this, [](Client& self) { self.on_timeout(); }) {
    socket_->start(*this);
    wait();
  }

  [[nodiscard]] bool idle() const noexcept {
    return out_.empty() && server_.loop_.now() - active_ >= busy_for;
  }
  // Nothing more is read or sent.
  void close() {
    socket_.reset();
    timer_.cancel();
    server_.remove(*this);
  }

 private:
  void on_bytes(io::Bytes in) override {
    requests_.feed(in.text());
    serve();
  }
  void on_end() override {
    ended_ = true;
    requests_.end();
    serve();
  }
  void on_writable() override { serve(); }
  void on_closed(const Error& /*why*/) override { close(); }

  // Answers what has come as long as the answers are taken, and decides what to wait for.
  void serve() {
    bool more = flush();
    while (more && !refused_) {
      more = serve_some();
      if (!flush()) break;
    }
    if (!socket_) return;
    if (out_.empty() && (refused_ || ended_)) return close();
    socket_->receive(out_.empty() && !refused_);
    wait();
  }

  // false: nothing more can be answered now.
  bool serve_some() {
    std::string replies;
    bool more = true;
    while (more && !refused_ && replies.size() < full) more = serve_one(replies);
    out_.append(replies);
    return more;
  }

  bool serve_one(std::string& replies) {
    auto text = requests_.next();
    if (!text) {
      refuse(replies, text.error());
      return false;
    }
    if (!*text) return false;
    active_ = server_.loop_.now();
    server_.clients_.push_back(*this);
    const auto request = LookupRequest::parse(**text);
    if (!request) {
      refuse(replies, request.error());
      return false;
    }
    if (request->wants_reply) server_.answer(replies, request->domain);
    return true;
  }

  void refuse(std::string& replies, const Error& why) {
    server_.counters_.refused.add();
    append_error(replies, why.message());
    refused_ = true;
  }

  // Whether everything was taken.
  bool flush() {
    if (!out_.empty()) socket_->write(out_);
    return out_.empty();
  }

  void wait() {
    const SocketServer::Limits& limits = server_.limits_;
    const Waiting now = !out_.empty()         ? Waiting::write
                        : requests_.partial() ? Waiting::request
                                              : Waiting::idle;
    // The rest of a request gets no more time by coming in small pieces.
    if (now == Waiting::request && waiting_ == now) return;
    waiting_ = now;
    unsent_ = socket_->unsent() + out_.size();
    timer_.arm(now == Waiting::write     ? limits.write
               : now == Waiting::request ? limits.request
                                         : limits.idle);
  }

  void on_timeout() {
    const std::size_t before = unsent_;
    if (waiting_ == Waiting::write && socket_->unsent() + out_.size() < before) return wait();
    close();
  }

  enum class Waiting : std::uint8_t { idle, request, write };

  SocketServer& server_;
  JsonStream requests_{LookupRequest::most};
  base::Chain out_;  // outlives socket_
  std::unique_ptr<io::Socket> socket_;
  io::Timer timer_;
  Waiting waiting_ = Waiting::idle;
  std::int64_t active_ = server_.loop_.now();
  std::size_t unsent_ = 0;  // bytes, when the timer was armed
  bool ended_ = false;      // the client sends no more
  bool refused_ = false;    // it sent what is no request
};

Result<int> SocketServer::listen(const std::string& path, const std::string& group) {
  std::optional<gid_t> id;
  if (!group.empty()) {
    const struct ::group* entry = ::getgrnam(group.c_str());
    if (entry == nullptr) {
      return Error{Errc::invalid, "listen on unix:" + path + ": no group '" + group + "'"};
    }
    id = entry->gr_gid;
  }
  PX_TRY(const int fd, io::listen_on({.address = path, .port = 0, .is_unix = true}, backlog, mode));
  if (id && ::chown(path.c_str(), static_cast<uid_t>(-1), *id) != 0) {
    Error why{errno == EPERM ? Errc::denied : Errc::io,
              "listen on unix:" + path + ": group '" + group + "': " + std::strerror(errno)};
    ::close(fd);
    ::unlink(path.c_str());
    return why;
  }
  return fd;
}

SocketServer::SocketServer(io::Loop& loop, int fd, Directory& directory, const Limits& limits,
                           ServiceCounters& counters)
    : loop_(loop),
      directory_(directory),
      limits_(limits),
      counters_(counters),
      listener_(loop, fd, true, 0, *this) {}

SocketServer::~SocketServer() {
  clients_.for_each([](Client& client) { client.close(); });
  loop_.sweep();
}

void SocketServer::on_accept(int fd, const io::Address& /*peer*/, io::Listener& /*from*/) {
  const std::string peer = peer_of(fd);
  auto socket = io::Socket::adopt(loop_, fd, true);
  if (!socket) return;
  counters_.accepted.add();
  if (count_ >= limits_.connections && clients_.front().idle()) clients_.front().close();
  static base::log::Throttle throttle;
  if (count_ >= limits_.connections) {
    counters_.refused.add();
    base::log::write(throttle, LogLevel::warning, "lookup.refused",
                     {{"client", peer}, {"connections", std::to_string(count_)}});
    return;
  }
  base::log::write(throttle, LogLevel::info, "lookup.client", {{"client", peer}});
  ++count_;
  counters_.connections.add(1);
  // The list holds it; remove() takes it out again.
  auto client = std::make_unique<Client>(*this, *std::move(socket));
  clients_.push_back(*client.release());
}

void SocketServer::remove(Client& client) {
  client.unlink();
  --count_;
  counters_.connections.add(-1);
  loop_.retire(std::unique_ptr<io::Retired>(&client));
}

void SocketServer::answer(std::string& out, std::string_view domain) {
  const std::string name = canonical(domain);
  auto found = name.empty() ? Error{Errc::not_found} : directory_.find(name);
  const bool by_wildcard = found && found->pattern != name;
  if (by_wildcard && wants_no_other_names(found->record)) found = Error{Errc::not_found};
  if (!found && found.error().code == Errc::not_found) {
    counters_.misses.add();
    return append_miss(out);
  }
  if (!found) {
    counters_.failures.add();
    return append_error(out, found.error().message());
  }
  counters_.hits.add();
  if (by_wildcard) directory_.on_wildcard_hit(name, *found);
  // Whose certificate covers the name: clients keep that with the record.
  found->record.try_emplace("wildcard_parent", found->pattern);
  append_reply(out, found->record);
}

}  // namespace proxycore::lookup
