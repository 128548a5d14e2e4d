// TicketKeys: what session tickets are sealed with.
//
// A ticket holds the session, encrypted (AES-256-GCM), so that no server keeps any: whoever has the
// keys can resume it, on any worker, machine, and after a restart. The newest key seals, all open.
// A ticket is bound to the name that the client asked for. Clocks are wall clocks, as monotonic
// ones differ between machines. Not here: where keys come from and when they change (server/).
// Source: RFC 8446 §4.6.1, RFC 5077 §4. Thread: any; immutable.
#pragma once

#include <proxycore/result.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace proxycore::tls {

struct TicketKey {
  std::array<unsigned char, 16> name;  // in each ticket, in the clear
  std::array<unsigned char, 32> secret;

  // Errors: io (no random bytes).
  static Result<TicketKey> generate();
};

class TicketKeys {
 public:
  static constexpr std::size_t max_keys = 16;

  // The newest first; those after max_keys are left out. Errors: io (no memory).
  static Result<std::shared_ptr<const TicketKeys>> create(std::span<const TicketKey> keys);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;
  ~TicketKeys();

  // What a ticket has more than what is in it: name, nonce, time of its making, tag.
  static constexpr std::size_t overhead = 16 + 12 + 8 + 16;

  // Seals `session` for `name` at `now` (milliseconds since 1970) into `out`; returns the size.
  // nullopt: no room, or no key.
  [[nodiscard]] std::optional<std::size_t> seal(std::span<const unsigned char> session,
                                                std::string_view name, std::int64_t now,
                                                std::span<unsigned char> out) const;
  struct Opened {
    std::span<unsigned char> session;  // within `ticket`
    std::int64_t made;                 // milliseconds since 1970
  };
  // Opens it where it lies. nullopt: of no key of ours, for another name, or forged.
  [[nodiscard]] std::optional<Opened> open(std::span<unsigned char> ticket,
                                           std::string_view name) const;

 private:
  struct Imported {
    std::array<unsigned char, 16> name;
    std::uint32_t id;  // PSA's
  };
  TicketKeys() = default;
  std::vector<Imported> keys_;
};

}  // namespace proxycore::tls
