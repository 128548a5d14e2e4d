#include "support/tls_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace proxycore::test {

namespace {

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Connection = std::unique_ptr<SSL, decltype(&SSL_free)>;

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto& kept = *static_cast<std::shared_ptr<SSL_SESSION>*>(SSL_get_ex_data(ssl, 0));
  kept = std::shared_ptr<SSL_SESSION>(session, SSL_SESSION_free);
  return 1;
}

std::vector<std::string> names_of(SSL* ssl) {
  std::vector<std::string> names;
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl),
                                                                X509_free);
  if (!certificate) return names;
  auto* alternatives = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives, i);
    if (name->type != GEN_DNS) continue;
    names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                       static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
  }
  GENERAL_NAMES_free(alternatives);
  return names;
}

}  // namespace

TlsVisit visit(std::uint16_t port, const std::string& server_name, std::string_view request,
               const std::shared_ptr<ssl_session_st>& resume) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(fd >= 0);
  const timeval limit{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);

  TlsVisit seen;
  {
    const Context context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    SSL_CTX_set_session_cache_mode(context.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), keep_session);
    const Connection ssl(SSL_new(context.get()), SSL_free);
    SSL_set_ex_data(ssl.get(), 0, &seen.session);
    SSL_set_fd(ssl.get(), fd);
    if (!server_name.empty()) {
      // What SSL_set_tlsext_host_name is, without its cast.
      SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               const_cast<char*>(server_name.c_str()));
    }
    if (resume) SSL_set_session(ssl.get(), resume.get());
    if (SSL_connect(ssl.get()) == 1) {
      seen.names = names_of(ssl.get());
      seen.resumed = SSL_session_reused(ssl.get()) == 1;
      const int size = static_cast<int>(request.size());
      REQUIRE(SSL_write(ssl.get(), request.data(), size) == size);
      char buffer[4096];
      int count = 0;
      while ((count = SSL_read(ssl.get(), buffer, sizeof buffer)) > 0) {
        seen.reply.append(buffer, static_cast<std::size_t>(count));
      }
      SSL_shutdown(ssl.get());
    }
  }
  ::close(fd);
  return seen;
}

}  // namespace proxycore::test
