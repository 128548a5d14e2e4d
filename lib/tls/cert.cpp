#include "tls/cert.h"

#include "base/assert.h"
#include "base/chain.h"
#include "base/text.h"
#include "tls/accel/private_key.h"
#include "tls/accel/random.h"
#include "tls/accel/start.h"
#include "tls/context.h"
#include "tls/digest.h"
#include "tls/engine.h"
#include <proxycore/host.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <mutex>
#include <utility>

#include <arpa/inet.h>

#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

namespace proxycore::tls {

namespace {
constexpr std::size_t max_chain = 10;
constexpr std::size_t max_chain_text = 256 << 10;
constexpr std::string_view begin_mark = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view end_mark = "-----END CERTIFICATE-----";

// The first certificate of what is left of a PEM text, marks included; empty: there is none.
std::string_view next_block(std::string_view& text) {
  const std::size_t begin = text.find(begin_mark);
  if (begin == std::string_view::npos) return {};
  const std::size_t end = text.find(end_mark, begin);
  if (end == std::string_view::npos) return {};
  const std::string_view block = text.substr(begin, end + end_mark.size() - begin);
  text.remove_prefix(end + end_mark.size());
  return block;
}

Error invalid(std::string_view what) {
  return Error{Errc::invalid, std::string(what)};
}

Error in_chain(std::size_t place, std::string_view what) {
  return invalid(what).within("certificate " + std::to_string(place) + " of the chain");
}

std::string text_of(const mbedtls_x509_name& name) {
  char text[1024];
  const int size = mbedtls_x509_dn_gets(text, sizeof text, &name);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

// Canonical, "*." kept; empty: no name that anybody could ask for.
std::string canonical_name(std::string_view name) {
  const bool wildcard = name.starts_with("*.");
  auto rest = HostName::canonical(wildcard ? name.substr(2) : name);
  if (!rest) return {};
  return wildcard ? "*." + *rest : *std::move(rest);
}

std::string canonical_address(const unsigned char* bytes, std::size_t size) {
  char text[INET6_ADDRSTRLEN];
  if (size == 4 && inet_ntop(AF_INET, bytes, text, sizeof text) != nullptr) return text;
  if (size != 16 || inet_ntop(AF_INET6, bytes, text, sizeof text) == nullptr) return {};
  return HostName::canonical(std::string("[") + text + "]").value_or(std::string());
}

Result<void> check_key_kind(const mbedtls_pk_context& key) {
  if (mbedtls_pk_get_type(&key) == MBEDTLS_PK_RSA) {
    const std::size_t bits = mbedtls_pk_get_bitlen(&key);
    if (bits >= 2048 && bits <= 8192) return {};
    return invalid("an RSA key of " + std::to_string(bits) + " bits; expected 2048 to 8192");
  }
  psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
  if (mbedtls_pk_get_psa_attributes(&key, PSA_KEY_USAGE_VERIFY_HASH, &attributes) == 0 &&
      psa_get_key_type(&attributes) == PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1)) {
    const std::size_t bits = psa_get_key_bits(&attributes);
    if (bits == 256 || bits == 384) return {};
  }
  return invalid("its key is neither RSA nor of the curves P-256 and P-384");
}

// The certificates behind a chain's first.
struct Issuers {
  Issuers() { mbedtls_x509_crt_init(&first); }
  Issuers(const Issuers&) = delete;
  Issuers& operator=(const Issuers&) = delete;
  ~Issuers() { mbedtls_x509_crt_free(&first); }
  mbedtls_x509_crt first;
};

// Those that are in use, so that many certificates of one authority keep them once.
class SharedIssuers {
 public:
  // The same chain from before, or this one from now on.
  std::shared_ptr<const Issuers> share(std::unique_ptr<Issuers> chain) {
    std::string all;
    for (const mbedtls_x509_crt* at = &chain->first; at != nullptr; at = at->next) {
      all.append(reinterpret_cast<const char*>(at->raw.p), at->raw.len);
    }
    const Digest digest = sha256(all);
    const std::lock_guard lock(mutex_);
    std::weak_ptr<const Issuers>& entry = known_[digest];
    if (auto same = entry.lock()) return same;
    std::shared_ptr<const Issuers> shared(chain.release(), [this, digest](const Issuers* unused) {
      forget(digest);
      delete unused;
    });
    entry = shared;
    return shared;
  }

 private:
  using Digest = std::array<unsigned char, 32>;

  void forget(const Digest& digest) {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(digest);
    // Another thread may have put the same chain in the place of the one that dies.
    if (found != known_.end() && found->second.expired()) known_.erase(found);
  }

  std::mutex mutex_;
  std::map<Digest, std::weak_ptr<const Issuers>> known_;
};

SharedIssuers& shared_issuers() {
  // Never destroyed: certificates may die after main().
  static auto* issuers = new SharedIssuers;
  return *issuers;
}

// Whether `child` is signed by `parent`. Dates and key sizes are other questions.
bool is_signed_by(mbedtls_x509_crt& child, mbedtls_x509_crt& parent) {
  mbedtls_x509_crt* const after_child = std::exchange(child.next, nullptr);
  mbedtls_x509_crt* const after_parent = std::exchange(parent.next, nullptr);
  std::uint32_t flags = 0;
  mbedtls_x509_crt_verify(&child, &parent, nullptr, nullptr, &flags, nullptr, nullptr);
  child.next = after_child;
  parent.next = after_parent;
  return (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) == 0;
}

Result<void> parse_one(std::string_view block, std::size_t place, mbedtls_x509_crt& into) {
  const std::string text(block);  // its NUL is asked for
  const int status = mbedtls_x509_crt_parse(
      &into, reinterpret_cast<const unsigned char*>(text.c_str()), text.size() + 1);
  if (status == 0) return {};
  char why[160] = {};
  mbedtls_strerror(status, why, sizeof why);
  return in_chain(place, why);
}
}  // namespace

struct Certificate::Parsed {
  Parsed() {
    mbedtls_x509_crt_init(&leaf);
    mbedtls_pk_init(&key);
  }
  Parsed(const Parsed&) = delete;
  Parsed& operator=(const Parsed&) = delete;
  ~Parsed() {
    leaf.next = nullptr;  // shared
    mbedtls_x509_crt_free(&leaf);
    free_private_key(key);
  }
  mbedtls_x509_crt leaf;
  mbedtls_pk_context key;
  std::shared_ptr<const Issuers> issuers;
};

Certificate::Certificate(std::unique_ptr<Parsed> parsed)
    : parsed_(std::move(parsed)),
      names_(names_in(parsed_->leaf)),
      not_before_(seconds_of(parsed_->leaf.valid_from)),
      not_after_(seconds_of(parsed_->leaf.valid_to)) {}

Certificate::~Certificate() = default;

Result<std::shared_ptr<const Certificate>> Certificate::load(const CertBundle& bundle) {
  start_crypto();
  if (bundle.chain_pem.size() > max_chain_text) return invalid("the chain has over 256 KiB");
  std::string_view text = bundle.chain_pem;
  auto parsed = std::make_unique<Parsed>();
  const std::string_view first = next_block(text);
  if (first.empty()) return invalid("no PEM certificate in the chain");
  PX_CHECK(parse_one(first, 1, parsed->leaf));

  auto issuers = std::make_unique<Issuers>();
  std::size_t place = 1;
  for (std::string_view block = next_block(text); !block.empty(); block = next_block(text)) {
    if (++place > max_chain) return invalid("the chain has over 10 certificates");
    PX_CHECK(parse_one(block, place, issuers->first));
  }
  if (text.find(begin_mark) != std::string_view::npos) {
    return in_chain(place + 1, "its end is missing");
  }
  if (auto fits = check_key_kind(parsed->leaf.pk); !fits) {
    return in_chain(1, fits.error().detail);
  }
  if (place > 1) {
    mbedtls_x509_crt* child = &parsed->leaf;
    std::size_t at = 1;
    for (mbedtls_x509_crt* parent = &issuers->first; parent != nullptr; parent = parent->next) {
      if (!is_signed_by(*child, *parent)) {
        return in_chain(at, "it is not signed by the next, but by '" + text_of(child->issuer) +
                                "'; the next is '" + text_of(parent->subject) + "'");
      }
      child = parent;
      ++at;
    }
    parsed->issuers = shared_issuers().share(std::move(issuers));
    // mbedTLS only reads a chain that it presents.
    parsed->leaf.next = const_cast<mbedtls_x509_crt*>(&parsed->issuers->first);
  }
  PX_CHECK(import_private_key(bundle.key_pem, parsed->key));
  if (!is_pair(parsed->leaf.pk, parsed->key)) {
    return invalid("the private key is not that of certificate 1 of the chain");
  }
  return std::shared_ptr<const Certificate>(new Certificate(std::move(parsed)));
}

KeyType Certificate::key_type() const noexcept {
  return mbedtls_pk_get_type(&parsed_->leaf.pk) == MBEDTLS_PK_RSA ? KeyType::rsa : KeyType::ecdsa;
}

bool Certificate::matches(std::string_view canonical_name) const noexcept {
  return std::any_of(names_.begin(), names_.end(),
                     [&](const std::string& name) { return covers(name, canonical_name); });
}

std::string Certificate::subject() const {
  return text_of(parsed_->leaf.subject);
}

std::string Certificate::issuer() const {
  return text_of(parsed_->leaf.issuer);
}

std::string Certificate::serial() const {
  return base::hex({parsed_->leaf.serial.p, parsed_->leaf.serial.len});
}

std::string Certificate::fingerprint() const {
  const mbedtls_x509_buf& raw = parsed_->leaf.raw;
  return base::hex(sha256({reinterpret_cast<const char*>(raw.p), raw.len}));
}

bool Certificate::self_signed() const {
  const mbedtls_x509_buf& subject = parsed_->leaf.subject_raw;
  const mbedtls_x509_buf& issuer = parsed_->leaf.issuer_raw;
  return subject.len == issuer.len && std::equal(subject.p, subject.p + subject.len, issuer.p);
}

std::size_t Certificate::chain_length() const {
  std::size_t count = 0;
  for (const mbedtls_x509_crt* at = &parsed_->leaf; at != nullptr; at = at->next) ++count;
  return count;
}

mbedtls_x509_crt* Certificate::chain() const noexcept {
  return &parsed_->leaf;
}

mbedtls_pk_context* Certificate::key() const noexcept {
  return &parsed_->key;
}

std::vector<std::string> names_in(const mbedtls_x509_crt& certificate) {
  std::vector<std::string> names;
  const auto add = [&](std::string name) {
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return;
    names.push_back(std::move(name));
  };
  if (mbedtls_x509_crt_has_ext_type(&certificate, MBEDTLS_X509_EXT_SUBJECT_ALT_NAME) != 0) {
    for (const auto* at = &certificate.subject_alt_names; at != nullptr; at = at->next) {
      if (at->buf.p == nullptr) continue;
      switch (at->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) {
        case MBEDTLS_X509_SAN_DNS_NAME:
          add(canonical_name({reinterpret_cast<const char*>(at->buf.p), at->buf.len}));
          break;
        case MBEDTLS_X509_SAN_IP_ADDRESS:
          add(canonical_address(at->buf.p, at->buf.len));
          break;
        default:
          break;
      }
    }
    return names;
  }
  for (const auto* at = &certificate.subject; at != nullptr; at = at->next) {
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &at->oid) != 0) continue;
    add(canonical_name({reinterpret_cast<const char*>(at->val.p), at->val.len}));
  }
  return names;
}

std::int64_t seconds_of(const mbedtls_x509_time& time) {
  std::tm parts{};
  parts.tm_year = time.year - 1900;
  parts.tm_mon = time.mon - 1;
  parts.tm_mday = time.day;
  parts.tm_hour = time.hour;
  parts.tm_min = time.min;
  parts.tm_sec = time.sec;
  return ::timegm(&parts);
}

bool covers(std::string_view presented, std::string_view name) noexcept {
  if (presented == name) return !name.empty();
  if (!presented.starts_with("*.")) return false;
  const std::size_t dot = name.find('.');
  // No name ends in a digit but an address, and a "*" is no part of those.
  if (dot == std::string_view::npos || dot == 0 || base::is_digit(name.back())) return false;
  return name.substr(dot + 1) == presented.substr(2) && name.substr(0, dot) != "*";
}

namespace {
// Hands what one side has to send to the other, until neither has anything.
Result<void> shake_hands(Engine& server, Chain& from_server, Engine& client, Chain& from_client) {
  const auto take = [](Engine& engine, Chain& chain) -> Result<void> {
    do {
      Bytes in = chain.empty() ? Bytes() : chain.front();
      const std::size_t size = in.size;
      Engine::Event event = Engine::Event::opened;
      while (event == Engine::Event::opened) event = engine.next(in);
      if (event != Engine::Event::wait) return engine.error();
      if (!chain.empty()) chain.consume(size - in.size);
    } while (!chain.empty());
    return {};
  };
  for (int turn = 0; turn < 4; ++turn) {
    PX_CHECK(take(client, from_server));
    PX_CHECK(take(server, from_client));
  }
  if (!server.open() || !client.open()) return Error{Errc::protocol, "it does not end"};
  return {};
}
}  // namespace

Result<void> gate(const std::shared_ptr<const Certificate>& certificate, std::string_view name,
                  std::int64_t now) {
  const std::vector<std::string>& names = certificate->names();
  const bool wildcard = name.starts_with("*.");
  if (!name.empty() && (wildcard ? std::find(names.begin(), names.end(), name) == names.end()
                                 : !certificate->matches(name))) {
    std::string text = "it does not cover '" + std::string(name) + "' but";
    for (std::size_t i = 0; i < names.size() && i < 5; ++i) text += " '" + names[i] + "'";
    if (names.size() > 5) text += " and " + std::to_string(names.size() - 5) + " more";
    if (names.empty()) text += " no name";
    return invalid(text);
  }
  if (now < certificate->not_before()) {
    return invalid("it is not valid before " + base::iso_date(certificate->not_before() * 1000));
  }
  if (now > certificate->not_after()) {
    return invalid("it has expired on " + base::iso_date(certificate->not_after() * 1000));
  }
  base::Slabs slabs;
  Chain from_server(slabs);
  Chain from_client(slabs);
  TlsConfig config;
  config.min_version = TlsVersion::tls_1_3;
  PX_TRY(const auto server_context, ServerContext::create(config));
  ClientContext::Settings settings;
  settings.min_version = TlsVersion::tls_1_3;
  PX_TRY(const auto client_context, ClientContext::create(settings));
  auto credentials = std::make_shared<Credentials>();
  (certificate->key_type() == KeyType::rsa ? credentials->rsa : credentials->ecdsa) = certificate;
  PX_TRY(const auto server,
         Engine::server(*server_context, std::move(credentials), {}, from_server));
  ClientOptions options;
  options.verify = Verify::no;
  PX_TRY(const auto client, Engine::client(*client_context, options, from_client));
  if (auto done = shake_hands(*server, from_server, *client, from_client); !done) {
    return invalid("a handshake with it fails: " + done.error().detail);
  }
  return {};
}

}  // namespace proxycore::tls
