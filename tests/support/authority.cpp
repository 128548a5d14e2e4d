#include "support/authority.h"

#include <cstdlib>
#include <utility>

#include <doctest/doctest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

namespace proxycore::test {

namespace {
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Key new_key(const std::string& kind) {
  EVP_PKEY* key = nullptr;
  if (kind.starts_with("rsa:")) {
    key = EVP_RSA_gen(static_cast<unsigned>(std::strtoul(kind.c_str() + 4, nullptr, 10)));
  } else if (kind == "ed25519") {
    key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  } else {
    key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", kind.c_str());
  }
  REQUIRE(key != nullptr);
  return {key, &EVP_PKEY_free};
}

template <class Write>
std::string pem_of(Write&& write) {
  BIO* bio = BIO_new(BIO_s_mem());
  REQUIRE(write(bio) == 1);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  std::string text(bytes, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

std::string pem_of_key(EVP_PKEY* key, bool traditional) {
  return pem_of([&](BIO* bio) {
    return traditional ? PEM_write_bio_PrivateKey_traditional(bio, key, nullptr, nullptr, 0,
                                                              nullptr, nullptr)
                       : PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

void add_extension(X509* certificate, int id, const std::string& value, X509* issuer = nullptr) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer != nullptr ? issuer : certificate, certificate, nullptr, nullptr,
                 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  REQUIRE(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// `issuer` null: itself.
Certificate sign(const Wanted& wanted, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate made(X509_new(), &X509_free);
  X509* x = made.get();
  X509_set_version(x, X509_VERSION_3);
  unsigned char serial[8];
  RAND_bytes(serial, sizeof serial);
  serial[0] = static_cast<unsigned char>(serial[0] & 0x7f);
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(x), wanted.not_before);
  X509_gmtime_adj(X509_getm_notAfter(x), wanted.not_after);
  X509_NAME* name = X509_get_subject_name(x);
  if (!wanted.common_name.empty()) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(wanted.common_name.c_str()),
                               -1, -1, 0);
  }
  X509_set_issuer_name(x, issuer != nullptr ? X509_get_subject_name(issuer) : name);
  X509_set_pubkey(x, key);
  if (wanted.is_authority) add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
  std::string names;
  for (const std::string& one : wanted.dns) names += (names.empty() ? "DNS:" : ",DNS:") + one;
  for (const std::string& one : wanted.addresses) names += (names.empty() ? "IP:" : ",IP:") + one;
  if (!names.empty()) add_extension(x, NID_subject_alt_name, names);
  if (!wanted.key_usage.empty()) add_extension(x, NID_key_usage, wanted.key_usage);
  if (!wanted.extended_key_usage.empty()) {
    add_extension(x, NID_ext_key_usage, wanted.extended_key_usage);
  }
  if (wanted.key_ids) {
    add_extension(x, NID_subject_key_identifier, "hash");
    if (issuer != nullptr) add_extension(x, NID_authority_key_identifier, "keyid:always", issuer);
  }
  EVP_PKEY* with = issuer_key != nullptr ? issuer_key : key;
  const EVP_MD* hash = EVP_PKEY_get_id(with) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  REQUIRE(X509_sign(x, with, hash) > 0);
  return made;
}

std::string pem_of_certificate(X509* x) {
  return pem_of([&](BIO* bio) { return PEM_write_bio_X509(bio, x); });
}
}  // namespace

struct Authority::Parts {
  Key key;
  Certificate certificate;
};

Authority::Authority(Wanted wanted) {
  wanted.is_authority = true;
  Key key = new_key(wanted.key);
  Certificate certificate = sign(wanted, key.get(), nullptr, nullptr);
  parts_.reset(new Parts{std::move(key), std::move(certificate)});
  pem_ = pem_of_certificate(parts_->certificate.get());
  key_pem_ = pem_of_key(parts_->key.get(), false);
}

Authority::Authority(const Authority& parent, Wanted wanted) : parent_(&parent) {
  wanted.is_authority = true;
  Key key = new_key(wanted.key);
  Certificate certificate =
      sign(wanted, key.get(), parent.parts_->certificate.get(), parent.parts_->key.get());
  parts_.reset(new Parts{std::move(key), std::move(certificate)});
  pem_ = pem_of_certificate(parts_->certificate.get());
  key_pem_ = pem_of_key(parts_->key.get(), false);
}

Authority::~Authority() = default;

CertBundle Authority::issue(const Wanted& wanted) const {
  const Key key = new_key(wanted.key);
  const Certificate made = sign(wanted, key.get(), parts_->certificate.get(), parts_->key.get());
  CertBundle bundle{pem_of_certificate(made.get()), pem_of_key(key.get(), false)};
  for (const Authority* at = this; at->parent_ != nullptr; at = at->parent_) {
    bundle.chain_pem += at->pem_;
  }
  return bundle;
}

std::string Authority::issue_for(const std::string& key_pem, const Wanted& wanted) const {
  BIO* bio = BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size()));
  const Key key(PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr), &EVP_PKEY_free);
  BIO_free(bio);
  REQUIRE(key != nullptr);
  const Certificate made = sign(wanted, key.get(), parts_->certificate.get(), parts_->key.get());
  return pem_of_certificate(made.get());
}

std::string Authority::certify(const std::string& csr_der, const Wanted& wanted) const {
  const auto* bytes = reinterpret_cast<const unsigned char*>(csr_der.data());
  const std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> request(
      d2i_X509_REQ(nullptr, &bytes, static_cast<long>(csr_der.size())), &X509_REQ_free);
  REQUIRE(request != nullptr);
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  REQUIRE(X509_REQ_verify(request.get(), key) == 1);
  const Certificate made = sign(wanted, key, parts_->certificate.get(), parts_->key.get());
  std::string chain = pem_of_certificate(made.get());
  for (const Authority* at = this; at->parent_ != nullptr; at = at->parent_) chain += at->pem_;
  return chain;
}

std::string make_key(const std::string& kind, bool traditional) {
  return pem_of_key(new_key(kind).get(), traditional);
}

CertBundle lone(Wanted wanted) {
  const Key key = new_key(wanted.key);
  const Certificate made = sign(wanted, key.get(), nullptr, nullptr);
  return {pem_of_certificate(made.get()), pem_of_key(key.get(), false)};
}

}  // namespace proxycore::test
