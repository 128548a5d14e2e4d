#include "host/target_policy.h"

#include "io/blocking.h"
#include "io/resolver.h"
#include "redis/url.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include <sys/socket.h>

#include <fmt/format.h>

namespace proxycore::host {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view listener_objection = "it is one of our own listeners";
constexpr std::string_view store_objection = "it is the store's server";
constexpr std::string_view unknown_objection = "it may be the store's server, which is not known";
constexpr std::string_view link_local_objection = "it is a link-local address";
constexpr std::string_view denied_objection = "admin.denied_targets has it";

// Where clouds have a machine's credentials, and the same by NAT64 (RFC 6052).
constexpr std::array<std::string_view, 4> link_local = {"169.254.0.0/16", "fe80::/10",
                                                        "64:ff9b::a9fe:0/112", "fd00:ec2::254"};
constexpr std::array<std::string_view, 2> loopback = {"127.0.0.0/8", "::1"};

// A store's address may change as often.
constexpr Clock::duration look_up_again = std::chrono::seconds(30);
constexpr Clock::duration look_up_soon = std::chrono::seconds(1);  // when it failed

Result<std::vector<io::Network>> networks(const std::vector<std::string>& texts,
                                          std::string_view key) {
  std::vector<io::Network> all;
  for (const std::string& text : texts) {
    auto network = io::Network::parse(text);
    if (!network) return std::move(network).error().within(key);
    all.push_back(*network);
  }
  return all;
}

std::vector<io::Network> literal_networks(std::span<const std::string_view> texts) {
  std::vector<io::Network> all;
  for (const std::string_view text : texts) all.push_back(io::Network::parse(text).value());
  return all;
}

bool within(const std::vector<io::Network>& networks, const io::Address& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const io::Network& network) { return network.contains(address); });
}

auto same_host_as(const io::Address& address) {
  return [bits = address.bits()](const io::Address& other) { return other.bits() == bits; };
}

bool is_any(const io::Address& address) {
  static const io::Address any_v4 = *io::Address::parse("0.0.0.0", 0);
  return same_host_as(address)(any_v4) || address.bits() == io::Address::Bits{};
}

// Who connects to "any address" comes to the loopback interface.
io::Address as_connected(const io::Address& to) {
  if (!is_any(to)) return to;
  const bool v6 = to.bits() == io::Address::Bits{};
  return *io::Address::parse(v6 ? "::1" : "127.0.0.1", to.port());
}

// Whether a packet to it would stay on this machine: then it is sent from that very address. No
// packet is sent to find out.
bool is_local(const io::Address& address) {
  static const std::vector<io::Network> always = literal_networks(loopback);
  if (within(always, address)) return true;
  const io::Fd probe(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || ::connect(probe.get(), address.data(), address.size()) != 0) return false;
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): sockets' way
  auto* const any = reinterpret_cast<sockaddr*>(&from);
  if (::getsockname(probe.get(), any, &size) != 0) return false;
  return io::Address(*any).bits() == address.bits();
}

}  // namespace

// Until its address is known, whatever has its port is refused.
class TargetPolicy::Named : public std::enable_shared_from_this<Named> {
 public:
  Named(std::string name, std::uint16_t port, LookUp look_up)
      : name_(std::move(name)), port_(port), look_up_(look_up) {}

  std::string_view objection(const io::Address& to) {
    if (to.port() != port_) return {};
    const std::lock_guard lock(mutex_);
    if (Clock::now() >= again_) begin();
    if (known_.empty()) return unknown_objection;
    return std::any_of(known_.begin(), known_.end(), same_host_as(to)) ? store_objection
                                                                       : std::string_view();
  }
  void start() {
    const std::lock_guard lock(mutex_);
    begin();
  }

 private:
  // With the lock.
  void begin() {
    if (looking_up_) return;
    try {
      std::thread([self = shared_from_this()] { self->run(); }).detach();
      looking_up_ = true;
    } catch (const std::system_error&) {  // no thread to be had: what is known goes on
      again_ = Clock::now() + look_up_again;
    }
  }
  void run() {
    auto found = look_up_(name_);
    const std::lock_guard lock(mutex_);
    looking_up_ = false;
    again_ = Clock::now() + (found ? look_up_again : look_up_soon);
    if (found) known_ = *std::move(found);
  }

  const std::string name_;
  const std::uint16_t port_;
  const LookUp look_up_;
  std::mutex mutex_;  // guards what follows
  bool looking_up_ = false;
  Clock::time_point again_;
  std::vector<io::Address> known_;  // empty: never found
};

Result<TargetPolicy> TargetPolicy::create(const Config& config) {
  return create(config, io::look_up);
}

Result<TargetPolicy> TargetPolicy::create(const Config& config, LookUp look_up) {
  TargetPolicy policy;
  PX_TRY(policy.allowed_, networks(config.admin.allowed_targets, "admin.allowed_targets"));
  PX_TRY(policy.denied_, networks(config.admin.denied_targets, "admin.denied_targets"));
  for (const auto* texts : {&config.listen.admin, &config.admin.listen, &config.admin.https}) {
    PX_CHECK(policy.add_listeners(*texts));
  }
  PX_CHECK(policy.add_store(config.store.url, look_up));
  return policy;
}

Result<void> TargetPolicy::add_listeners(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    PX_TRY(const ListenAddress at, ListenAddress::parse(text));
    if (at.is_unix || at.port == 0) continue;
    auto address = io::Address::parse(at.address, at.port);
    // Of both families then, which costs nobody anything.
    if (address && is_any(*address)) address.reset();
    listeners_.push_back({address, at.port});
  }
  return {};
}

Result<void> TargetPolicy::add_store(const std::string& url, LookUp look_up) {
  if (!redis::Url::has_scheme(url)) return {};
  PX_TRY(const redis::Url at, redis::Url::parse(url));
  if (at.host.empty()) return {};
  store_ = io::Address::parse(at.host, at.port);
  if (store_) return {};
  named_store_ = std::make_shared<Named>(at.host, at.port, look_up);
  named_store_->start();
  return {};
}

std::string_view TargetPolicy::objection(const io::Address& given) const {
  static const std::vector<io::Network> never = literal_networks(link_local);
  const io::Address to = as_connected(given);
  if (within(allowed_, to) || within(allowed_, given)) return {};
  if (within(denied_, to) || within(denied_, given)) return denied_objection;
  if (within(never, to)) return link_local_objection;
  for (const Listener& listener : listeners_) {
    if (listener.port != to.port()) continue;
    if (listener.address ? same_host_as(to)(*listener.address) : is_local(to)) {
      return listener_objection;
    }
  }
  if (store_ && store_->port() == to.port() && same_host_as(to)(*store_)) return store_objection;
  return named_store_ ? named_store_->objection(to) : std::string_view();
}

}  // namespace proxycore::host
