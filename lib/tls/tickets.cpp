#include "tls/tickets.h"

#include "tls/accel/random.h"
#include "tls/accel/start.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <psa/crypto.h>

namespace proxycore::tls {

namespace {
constexpr std::size_t name_size = 16;
constexpr std::size_t nonce_size = 12;
constexpr std::size_t time_size = 8;
constexpr std::size_t tag_size = 16;
constexpr std::size_t head_size = name_size + nonce_size;
static_assert(TicketKeys::overhead == head_size + time_size + tag_size);

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
}  // namespace

Result<TicketKey> TicketKey::generate() {
  TicketKey key;
  if (random_bytes(nullptr, key.name.data(), key.name.size()) != 0 ||
      random_bytes(nullptr, key.secret.data(), key.secret.size()) != 0) {
    return Error{Errc::io, "ticket key: no random bytes"};
  }
  return key;
}

Result<std::shared_ptr<const TicketKeys>> TicketKeys::create(std::span<const TicketKey> keys) {
  start_crypto();
  std::shared_ptr<TicketKeys> all(new TicketKeys);
  for (const TicketKey& key : keys.first(std::min(keys.size(), max_keys))) {
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);
    psa_set_key_algorithm(&attributes, PSA_ALG_GCM);
    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_bits(&attributes, 8 * key.secret.size());
    psa_key_id_t id = 0;
    const psa_status_t status =
        psa_import_key(&attributes, key.secret.data(), key.secret.size(), &id);
    if (status != PSA_SUCCESS) {
      return Error{Errc::io, "ticket key: PSA status " + std::to_string(status)};
    }
    all->keys_.push_back({key.name, id});
  }
  return std::shared_ptr<const TicketKeys>(std::move(all));
}

TicketKeys::~TicketKeys() {
  for (const Imported& key : keys_) psa_destroy_key(key.id);
}

std::optional<std::size_t> TicketKeys::seal(std::span<const unsigned char> session,
                                            std::string_view name, std::int64_t now,
                                            std::span<unsigned char> out) const {
  if (keys_.empty() || out.size() < overhead || out.size() - overhead < session.size()) {
    return std::nullopt;
  }
  const Imported& key = keys_.front();
  std::memcpy(out.data(), key.name.data(), name_size);
  unsigned char* const nonce = out.data() + name_size;
  if (random_bytes(nullptr, nonce, nonce_size) != 0) return std::nullopt;
  unsigned char* const content = out.data() + head_size;
  for (std::size_t i = 0; i < time_size; ++i) {
    content[i] = static_cast<unsigned char>(static_cast<std::uint64_t>(now) >> (56 - 8 * i));
  }
  if (!session.empty()) std::memmove(content + time_size, session.data(), session.size());
  std::size_t size = 0;
  const psa_status_t status =
      psa_aead_encrypt(key.id, PSA_ALG_GCM, nonce, nonce_size, bytes_of(name), name.size(), content,
                       time_size + session.size(), content, out.size() - head_size, &size);
  if (status != PSA_SUCCESS) return std::nullopt;
  return head_size + size;
}

std::optional<TicketKeys::Opened> TicketKeys::open(std::span<unsigned char> ticket,
                                                   std::string_view name) const {
  if (ticket.size() < overhead) return std::nullopt;
  const auto key = std::find_if(keys_.begin(), keys_.end(), [&](const Imported& one) {
    return std::equal(one.name.begin(), one.name.end(), ticket.begin());
  });
  if (key == keys_.end()) return std::nullopt;
  const unsigned char* const nonce = ticket.data() + name_size;
  unsigned char* const content = ticket.data() + head_size;
  std::size_t size = 0;
  const psa_status_t status = psa_aead_decrypt(
      key->id, PSA_ALG_GCM, nonce, nonce_size, bytes_of(name), name.size(), content,
      ticket.size() - head_size, content, ticket.size() - head_size, &size);
  if (status != PSA_SUCCESS || size < time_size) return std::nullopt;
  std::uint64_t made = 0;
  for (std::size_t i = 0; i < time_size; ++i) made = made << 8 | content[i];
  return Opened{{content + time_size, size - time_size}, static_cast<std::int64_t>(made)};
}

}  // namespace proxycore::tls
