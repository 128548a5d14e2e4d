#include "tls/keys.h"

#include "base/clock.h"
#include "tls/accel/private_key.h"
#include "tls/accel/random.h"
#include "tls/accel/start.h"
#include <proxycore/host.h>

#include <array>
#include <cstring>
#include <ctime>

#include <arpa/inet.h>

#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>
#include <psa/crypto.h>

namespace proxycore::tls {

namespace {
constexpr std::size_t max_names = 100;
constexpr std::size_t max_common_name = 64;  // RFC 5280, upper bounds

Error failed(std::string_view operation, int status) {
  char why[160] = {};
  mbedtls_strerror(status, why, sizeof why);
  return Error{Errc::io, why}.within(operation);
}

// A private key as handshakes have it.
struct Key {
  Key() { mbedtls_pk_init(&pk); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { free_private_key(pk); }
  mbedtls_pk_context pk;
};

// Subject alternative names as mbedTLS wants them; it only refers to the bytes.
class AlternativeNames {
 public:
  // Errors: invalid (which name).
  Result<void> add(std::string_view name) {
    PX_TRY(Entry entry, entry_of(name));
    entries_.push_back(std::move(entry));
    return {};
  }
  // Lives as long as this, which must not grow. From the last to the first, as mbedTLS writes from
  // the back.
  const mbedtls_x509_san_list* list() {
    nodes_.resize(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      nodes_[i].node.type = entries_[i].kind;
      mbedtls_x509_buf& value = nodes_[i].node.san.unstructured_name;
      value.p = reinterpret_cast<unsigned char*>(entries_[i].bytes.data());
      value.len = entries_[i].bytes.size();
      nodes_[i].next = i > 0 ? &nodes_[i - 1] : nullptr;
    }
    return &nodes_.back();
  }

 private:
  struct Entry {
    int kind;
    std::string bytes;
  };

  static Result<Entry> entry_of(std::string_view name) {
    const bool wildcard = name.starts_with("*.");
    auto canonical = HostName::canonical(wildcard ? name.substr(2) : name);
    if (!canonical) return std::move(canonical).error();
    if (wildcard) return Entry{MBEDTLS_X509_SAN_DNS_NAME, "*." + *canonical};
    std::array<char, 16> address{};
    if (inet_pton(AF_INET, canonical->c_str(), address.data()) == 1) {
      return Entry{MBEDTLS_X509_SAN_IP_ADDRESS, std::string(address.data(), 4)};
    }
    if (canonical->starts_with('[')) {
      const std::string bare = canonical->substr(1, canonical->size() - 2);
      if (inet_pton(AF_INET6, bare.c_str(), address.data()) == 1) {
        return Entry{MBEDTLS_X509_SAN_IP_ADDRESS, std::string(address.data(), 16)};
      }
    }
    return Entry{MBEDTLS_X509_SAN_DNS_NAME, *std::move(canonical)};
  }

  std::vector<Entry> entries_;
  std::vector<mbedtls_x509_san_list> nodes_;
};

Result<AlternativeNames> alternative_names(const std::vector<std::string>& names) {
  if (names.empty() || names.size() > max_names) {
    return Error{Errc::invalid, "expected 1 to 100 names"};
  }
  AlternativeNames all;
  for (const std::string& name : names) PX_CHECK(all.add(name));
  return all;
}

// "CN=...", with what has a meaning in there escaped (RFC 4514 §2.4).
std::string subject_of(std::string_view common_name) {
  std::string text = "CN=";
  for (const char c : common_name) {
    if (std::string_view("\"+,;<>\\=#").find(c) != std::string_view::npos) text += '\\';
    text += c;
  }
  return text;
}

// "20260101120000".
std::string x509_time(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts)};
}

struct RequestWriter {
  RequestWriter() { mbedtls_x509write_csr_init(&csr); }
  RequestWriter(const RequestWriter&) = delete;
  RequestWriter& operator=(const RequestWriter&) = delete;
  ~RequestWriter() { mbedtls_x509write_csr_free(&csr); }
  mbedtls_x509write_csr csr;
};

struct CertificateWriter {
  CertificateWriter() { mbedtls_x509write_crt_init(&crt); }
  CertificateWriter(const CertificateWriter&) = delete;
  CertificateWriter& operator=(const CertificateWriter&) = delete;
  ~CertificateWriter() { mbedtls_x509write_crt_free(&crt); }
  mbedtls_x509write_cert crt;
};

using PemBuffer = std::array<unsigned char, 16 << 10>;
}  // namespace

Result<std::string> generate_key(KeyType type) {
  start_crypto();
  psa_key_attributes_t wanted = PSA_KEY_ATTRIBUTES_INIT;
  psa_set_key_usage_flags(&wanted, PSA_KEY_USAGE_EXPORT | PSA_KEY_USAGE_SIGN_HASH);
  if (type == KeyType::rsa) {
    psa_set_key_type(&wanted, PSA_KEY_TYPE_RSA_KEY_PAIR);
    psa_set_key_bits(&wanted, 2048);
    psa_set_key_algorithm(&wanted, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_ANY_HASH));
  } else {
    psa_set_key_type(&wanted, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&wanted, 256);
    psa_set_key_algorithm(&wanted, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
  }
  psa_key_id_t id = 0;
  if (const psa_status_t status = psa_generate_key(&wanted, &id); status != PSA_SUCCESS) {
    return Error{Errc::io, "generate key: PSA status " + std::to_string(status)};
  }
  mbedtls_pk_context pk;
  mbedtls_pk_init(&pk);
  PemBuffer pem{};
  int status = mbedtls_pk_copy_from_psa(id, &pk);
  psa_destroy_key(id);
  if (status == 0) status = mbedtls_pk_write_key_pem(&pk, pem.data(), pem.size());
  mbedtls_pk_free(&pk);
  std::string text(reinterpret_cast<const char*>(pem.data()));
  mbedtls_platform_zeroize(pem.data(), pem.size());
  if (status != 0) return failed("generate key", status);
  return text;
}

Result<std::string> make_csr(const std::vector<std::string>& names, const std::string& key_pem) {
  start_crypto();
  PX_TRY(AlternativeNames alternatives, alternative_names(names));
  Key key;
  PX_CHECK(import_private_key(key_pem, key.pk));
  RequestWriter writer;
  mbedtls_x509write_csr_set_key(&writer.csr, &key.pk);
  mbedtls_x509write_csr_set_md_alg(&writer.csr, MBEDTLS_MD_SHA256);
  int status = 0;
  if (names[0].size() <= max_common_name) {
    status = mbedtls_x509write_csr_set_subject_name(&writer.csr, subject_of(names[0]).c_str());
  }
  if (status == 0) {
    status = mbedtls_x509write_csr_set_subject_alternative_name(&writer.csr, alternatives.list());
  }
  PemBuffer pem{};
  if (status == 0) {
    status = mbedtls_x509write_csr_pem(&writer.csr, pem.data(), pem.size(), random_bytes, nullptr);
  }
  if (status != 0) return failed("make request", status);
  return std::string(reinterpret_cast<const char*>(pem.data()));
}

Result<CertBundle> self_signed(const SelfSigned& wanted) {
  start_crypto();
  PX_TRY(AlternativeNames alternatives, alternative_names(wanted.names));
  CertBundle bundle;
  PX_TRY(bundle.key_pem, generate_key(wanted.type));
  Key key;
  PX_CHECK(import_private_key(bundle.key_pem, key.pk));

  CertificateWriter writer;
  mbedtls_x509write_cert& crt = writer.crt;
  mbedtls_x509write_crt_set_version(&crt, MBEDTLS_X509_CRT_VERSION_3);
  mbedtls_x509write_crt_set_md_alg(&crt, MBEDTLS_MD_SHA256);
  mbedtls_x509write_crt_set_subject_key(&crt, &key.pk);
  mbedtls_x509write_crt_set_issuer_key(&crt, &key.pk);
  std::string common_name = wanted.common_name.empty() ? wanted.names[0] : wanted.common_name;
  if (common_name.size() > max_common_name) common_name.resize(max_common_name);
  const std::string subject = subject_of(common_name);
  std::array<unsigned char, 16> serial{};
  int status = random_bytes(nullptr, serial.data(), serial.size());
  serial[0] = static_cast<unsigned char>((serial[0] & 0x3f) | 0x40);  // positive, not shorter
  PemBuffer pem{};
  // Each step where the ones before went well.
  const auto step = [&status](int result) {
    if (status == 0) status = result;
    return status == 0;
  };
  const bool done =
      step(mbedtls_x509write_crt_set_subject_name(&crt, subject.c_str())) &&
      step(mbedtls_x509write_crt_set_issuer_name(&crt, subject.c_str())) &&
      step(mbedtls_x509write_crt_set_serial_raw(&crt, serial.data(), serial.size())) &&
      step(mbedtls_x509write_crt_set_validity(&crt, x509_time(wanted.not_before).c_str(),
                                              x509_time(wanted.not_after).c_str())) &&
      step(mbedtls_x509write_crt_set_basic_constraints(&crt, 0, -1)) &&
      step(mbedtls_x509write_crt_set_key_usage(&crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE)) &&
      step(mbedtls_x509write_crt_set_subject_alternative_name(&crt, alternatives.list())) &&
      step(mbedtls_x509write_crt_pem(&crt, pem.data(), pem.size(), random_bytes, nullptr));
  if (!done) return failed("sign certificate", status);
  bundle.chain_pem = reinterpret_cast<const char*>(pem.data());
  return bundle;
}

}  // namespace proxycore::tls

namespace proxycore {

Result<CertBundle> self_signed(const std::vector<std::string>& names) {
  constexpr std::int64_t day = 86'400;
  const auto now = base::now_s();
  // A day back, for clocks that are behind.
  return tls::self_signed({names, tls::KeyType::ecdsa, now - day, now + 365 * day});
}

}  // namespace proxycore
