#include "acme/jws.h"
#include "acme/objects.h"
#include "acme/problem.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/pause.h"
#include "base/text.h"
#include "client/http_client.h"
#include "tls/context.h"
#include "tls/issued.h"
#include "tls/keys.h"
#include "tls/signer.h"
#include <proxycore/acme.h>

#include <algorithm>

namespace proxycore::acme {

using base::json::Writer;
using client::Request;
using client::Response;

namespace {
constexpr std::size_t response_limit = 1 << 20;
// Some CAs lose nonces, as when their machines do not share them; a test CA refuses nine of ten.
constexpr int max_tries_of_nonce = 200;
constexpr std::size_t max_alternates = 10;
constexpr Seconds shortest_directory{60};
constexpr Seconds default_directory{3600};
constexpr Seconds longest_directory{86'400};
constexpr Millis first_look{100};
constexpr Millis last_look{5000};
constexpr std::uint32_t soonest_renewal_info = 60;
constexpr std::uint32_t default_renewal_info = 6 * 3600;
constexpr std::uint32_t latest_renewal_info = 86'400;

bool is_success(const Response& response) {
  return response.status >= 200 && response.status < 300;
}

std::uint32_t retry_after_of(const Response& response) {
  return client::retry_after(response, base::now_s()).value_or(0);
}

// How long a directory is good for.
Seconds lifetime_of(const Response& response) {
  std::string_view rest = response.header("cache-control");
  while (!rest.empty()) {
    const std::string_view member = base::next_member(rest);
    if (!base::same(member.substr(0, 8), "max-age=")) continue;
    const auto seconds = base::parse_decimal(member.substr(8), longest_directory.count());
    return seconds ? std::max(shortest_directory, Seconds(*seconds)) : default_directory;
  }
  return default_directory;
}

// The targets of `Link: <url>;rel="relation"` (RFC 8288 §3).
std::vector<std::string> links(const Response& response, std::string_view relation) {
  std::vector<std::string> targets;
  for (const client::Header& header : response.headers) {
    if (!base::same(header.name, "link")) continue;
    std::string_view rest = header.value;
    while (!rest.empty() && targets.size() < max_alternates) {
      const std::string_view link = base::next_member(rest);
      const std::size_t end = link.find('>');
      if (!link.starts_with('<') || end == std::string_view::npos) continue;
      const std::string_view target = link.substr(1, end - 1);
      const std::string quoted = "rel=\"" + std::string(relation) + "\"";
      if (link.find(quoted, end) != std::string_view::npos && is_url(target)) {
        targets.emplace_back(target);
      }
    }
  }
  return targets;
}

std::string text_of_status(std::string_view status) {
  std::string text;
  Writer(text).begin_object().field("status", status).end_object();
  return text;
}

void write_contact(Writer& writer, const std::vector<std::string>& contact) {
  writer.key("contact").begin_array();
  for (const std::string& one : contact) writer.value(one);
  writer.end_array();
}

Result<std::string> revocation(std::string_view certificate_pem, int reason) {
  PX_TRY(const tls::Issued issued, tls::read_issued(certificate_pem));
  std::string text;
  Writer(text)
      .begin_object()
      .field("certificate", base::base64url(issued.certificate_der))
      .field("reason", reason)
      .end_object();
  return text;
}

Error not_offered(std::string_view what) {
  return {Errc::not_found, "acme: the CA offers no " + std::string(what)};
}

bool same_names(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}
}  // namespace

// Requests and what they leave behind: the nonce, the directory, the problem.
class Client::Parts {
 public:
  Parts(Options wanted, tls::Signer account_key, client::HttpClient::Options http_options)
      : options(std::move(wanted)), key(std::move(account_key)), http(std::move(http_options)) {}

  // Which key signs, and as what.
  struct As {
    const tls::Signer& key;
    std::string key_id;  // empty: as the key itself
  };

  // Precondition of what is done by an account.
  Result<As> account() const {
    if (!options.account_url.empty()) return As{key, options.account_url};
    return Error{Errc::not_found, "acme: no account"};
  }

  // `payload` empty: POST-as-GET (RFC 8555 §6.3). Each nonce that is refused costs a try.
  Result<Response> post(std::string_view what, const std::string& url, std::string_view payload,
                        const As& as, const Deadline& by, std::string_view accept = {}) {
    const std::string operation = "acme: " + std::string(what);
    problem = {};
    PX_CHECK(allowed(url, operation));
    for (int tries = 1;; ++tries) {
      if (nonce.empty()) PX_CHECK(fetch_nonce(by));
      const std::string once = std::exchange(nonce, std::string());
      PX_TRY(std::string body, sign_jws(as.key, {url, once, as.key_id}, payload));
      Request request{"POST", url, {{"Content-Type", "application/jose+json"}}, std::move(body)};
      if (!accept.empty()) request.headers.push_back({"Accept", std::string(accept)});
      auto answer = send(std::move(request), by);
      if (!answer) return std::move(answer).error().within(operation);
      if (is_success(*answer)) {
        problem = {};
        return answer;
      }
      problem = read_problem(answer->body, answer->status);
      if (problem.type == "badNonce" && tries < max_tries_of_nonce) continue;
      return error_of(problem, retry_after_of(*answer)).within(operation);
    }
  }

  Result<Response> post_as_account(std::string_view what, const std::string& url,
                                   std::string_view payload, const Deadline& by) {
    PX_TRY(const As as, account());
    return post(what, url, payload, as, by);
  }

  Result<Response> get(std::string_view what, const std::string& url, const Deadline& by) {
    const std::string operation = "acme: " + std::string(what);
    problem = {};
    PX_CHECK(allowed(url, operation));
    auto answer = send({"GET", url}, by);
    if (!answer) return std::move(answer).error().within(operation);
    if (is_success(*answer)) return answer;
    problem = read_problem(answer->body, answer->status);
    return error_of(problem, retry_after_of(*answer)).within(operation);
  }

  // Waits before the next look: as long as the CA said with the last answer, else `looks`, which
  // doubles. Errors: busy (it said longer than there is time), those of pause().
  Result<void> wait(Millis& looks, const Deadline& by) const {
    const Millis asked = Seconds(retry_after_s);
    if (asked > by.left()) return Error{Errc::busy, "acme: not done yet", retry_after_s};
    const Millis span = asked > Millis{0} ? asked : looks;
    looks = std::min(2 * looks, last_look);
    auto waited = base::pause(span, by);
    if (!waited) return std::move(waited).error().within("acme: wait");
    return {};
  }

  // new_account() of both kinds.
  Result<Account> ask_for_account(std::string_view what, const std::string& payload,
                                  const Directory& of, const Deadline& by) {
    PX_TRY(const Response answer, post(what, of.new_account, payload, As{key, {}}, by));
    std::string url(answer.header("location"));
    if (!is_url(url)) return Error{Errc::protocol, "acme: account: no Location"};
    PX_TRY(Account account, read_account(answer.body, url));
    if (account.status != Status::valid) {
      return Error{Errc::denied, "acme: the account is " + std::string(name_of(account.status))};
    }
    options.account_url = std::move(url);
    return account;
  }

  Options options;
  tls::Signer key;
  client::HttpClient http;
  std::string nonce;
  Problem problem;
  std::uint32_t retry_after_s = 0;  // of the last answer
  std::optional<Directory> directory;
  Deadline::Clock::time_point directory_ends = {};

 private:
  // What goes by https once goes by https always.
  [[nodiscard]] Result<void> allowed(const std::string& url, std::string_view operation) const {
    if (url.starts_with("https://") || options.directory.starts_with("http://")) return {};
    return Error{Errc::protocol, "expected https: " + base::shown(url)}.within(operation);
  }

  Result<Response> send(Request request, const Deadline& by) {
    request.headers.push_back({"Accept-Language", options.languages});
    auto answer = http.send(request, by);
    if (!answer) {
      Error why = std::move(answer).error();
      // These two are what a CA says; here nobody reached one, or not the right one.
      if (why.code == Errc::not_found || why.code == Errc::denied) why.code = Errc::refused;
      return why;
    }
    const std::string_view fresh = answer->header("replay-nonce");
    if (is_base64url(fresh)) nonce = fresh;  // anything else is to be ignored (§6.5.1)
    retry_after_s = retry_after_of(*answer);
    return answer;
  }

  Result<void> fetch_nonce(const Deadline& by) {
    if (!directory) return Error{Errc::protocol, "acme: nonce: no directory"};
    auto answer = send({"HEAD", directory->new_nonce}, by);
    if (!answer) return std::move(answer).error().within("acme: nonce");
    if (!is_success(*answer)) {
      problem = read_problem(answer->body, answer->status);
      return error_of(problem, retry_after_of(*answer)).within("acme: nonce");
    }
    if (nonce.empty()) return Error{Errc::protocol, "acme: nonce: no Replay-Nonce"};
    return {};
  }
};

Client::Client(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Client::Client(Client&& from) noexcept = default;
Client& Client::operator=(Client&& from) noexcept = default;
Client::~Client() = default;

Result<Client> Client::create(Options options) {
  if (!is_url(options.directory)) {
    return Error{Errc::invalid,
                 "acme: directory: expected a url, found " + base::shown(options.directory)};
  }
  auto key = tls::Signer::load(options.account_key);
  if (!key) return std::move(key).error().within("acme: account key");
  client::HttpClient::Options http;
  http.user_agent = options.user_agent;
  http.response_limit = response_limit;
  if (!options.ca_pem.empty()) {
    auto authorities = tls::Authorities::system_and(options.ca_pem);
    if (!authorities) return std::move(authorities).error().within("acme: ca");
    http.authorities = *std::move(authorities);
  }
  if (!options.proxy.empty()) {
    auto proxy = client::Proxy::parse(options.proxy);
    if (!proxy) return std::move(proxy).error().within("acme");
    http.proxy = *std::move(proxy);
  }
  options.account_key.clear();
  options.proxy.clear();
  return Client(std::make_unique<Parts>(std::move(options), *std::move(key), std::move(http)));
}

Result<Directory> Client::directory(const Deadline& by) {
  if (parts_->directory && Deadline::Clock::now() < parts_->directory_ends) {
    return *parts_->directory;
  }
  PX_TRY(const Response answer, parts_->get("directory", parts_->options.directory, by));
  auto read = read_directory(answer.body);
  if (!read) return std::move(read).error().within("acme");
  parts_->directory = *std::move(read);
  parts_->directory_ends = Deadline::Clock::now() + lifetime_of(answer);
  return *parts_->directory;
}

const Problem& Client::problem() const noexcept {
  return parts_->problem;
}

const std::string& Client::account_url() const noexcept {
  return parts_->options.account_url;
}

Result<Account> Client::register_account(const Registration& registration, const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  std::string payload;
  Writer writer(payload);
  writer.begin_object();
  if (!registration.contact.empty()) write_contact(writer, registration.contact);
  if (registration.agree_tos) writer.field("termsOfServiceAgreed", true);
  if (registration.external) {
    PX_TRY(const std::string bound,
           bind_account(*registration.external, parts_->key.jwk(), offers.new_account));
    writer.key("externalAccountBinding").raw(bound);
  }
  writer.end_object();
  auto account = parts_->ask_for_account("register", payload, offers, by);
  if (!account && account.error().code == Errc::denied && !registration.agree_tos &&
      !offers.terms_of_service.empty()) {
    account.error().detail += " (its terms of service: " + offers.terms_of_service + ")";
  }
  return account;
}

Result<Account> Client::find_account(const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  std::string payload;
  Writer(payload).begin_object().field("onlyReturnExisting", true).end_object();
  return parts_->ask_for_account("find account", payload, offers, by);
}

Result<Account> Client::update_contact(const std::vector<std::string>& contact,
                                       const Deadline& by) {
  PX_CHECK(directory(by));
  std::string payload;
  Writer writer(payload);
  writer.begin_object();
  write_contact(writer, contact);
  writer.end_object();
  PX_TRY(const Response answer,
         parts_->post_as_account("update account", account_url(), payload, by));
  return read_account(answer.body, account_url());
}

Result<void> Client::change_key(std::string_view new_key_pem, const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  if (offers.key_change.empty()) return not_offered("change of keys");
  auto next = tls::Signer::load(new_key_pem);
  if (!next) return std::move(next).error().within("acme: new account key");
  std::string change;
  Writer writer(change);
  writer.begin_object().field("account", account_url());
  writer.key("oldKey").raw(parts_->key.jwk()).end_object();
  // The new key agrees, then the old one does (RFC 8555 §7.3.5).
  PX_TRY(const std::string agreed, sign_jws(*next, {.url = offers.key_change}, change));
  PX_CHECK(parts_->post_as_account("change key", offers.key_change, agreed, by));
  parts_->key = *std::move(next);
  return {};
}

Result<void> Client::deactivate_account(const Deadline& by) {
  PX_CHECK(directory(by));
  PX_CHECK(parts_->post_as_account("deactivate account", account_url(),
                                   text_of_status("deactivated"), by));
  return {};
}

Result<Order> Client::new_order(const OrderRequest& request, const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  std::string payload;
  Writer writer(payload);
  writer.begin_object().key("identifiers").begin_array();
  for (const std::string& name : request.names) {
    writer.begin_object().field("type", "dns").field("value", name).end_object();
  }
  writer.end_array();
  if (!request.profile.empty()) {
    const auto& known = offers.profiles;
    if (std::none_of(known.begin(), known.end(),
                     [&](const Profile& one) { return one.name == request.profile; })) {
      std::string all;
      for (const Profile& one : known) all += (all.empty() ? "" : ", ") + one.name;
      return Error{Errc::invalid, "acme: the CA has no profile '" + request.profile + "' but " +
                                      (all.empty() ? "none at all" : all)};
    }
    writer.field("profile", request.profile);
  }
  // Only a CA that has renewal information knows what that means (RFC 9773 §5).
  if (!request.replaces.empty() && !offers.renewal_info.empty()) {
    writer.field("replaces", request.replaces);
  }
  writer.end_object();
  PX_TRY(const Response answer,
         parts_->post_as_account("new order", offers.new_order, payload, by));
  const std::string_view url = answer.header("location");
  if (!is_url(url)) return Error{Errc::protocol, "acme: new order: no Location"};
  PX_TRY(Order placed, read_order(answer.body, std::string(url)));
  if (!same_names(placed.identifiers, request.names)) {
    return Error{Errc::protocol, "acme: new order: it is for other names than asked for"};
  }
  return placed;
}

Result<Order> Client::order(std::string_view url, const Deadline& by) {
  PX_CHECK(directory(by));
  PX_TRY(const Response answer, parts_->post_as_account("order", std::string(url), {}, by));
  return read_order(answer.body, std::string(url));
}

Result<Order> Client::finalize(const Order& order, std::string_view csr_pem, const Deadline& by) {
  PX_CHECK(directory(by));
  PX_TRY(const std::string csr, tls::der_of(csr_pem, "CERTIFICATE REQUEST"));
  std::string payload;
  Writer(payload).begin_object().field("csr", base::base64url(csr)).end_object();
  PX_TRY(const Response answer, parts_->post_as_account("finalize", order.finalize, payload, by));
  return read_order(answer.body, order.url);
}

Result<Order> Client::await(const Order& order, const Deadline& by) {
  Order now = order;
  Millis looks = first_look;
  while (now.status == Status::pending || now.status == Status::processing) {
    PX_CHECK(parts_->wait(looks, by));
    PX_TRY(now, this->order(order.url, by));
  }
  if (now.status == Status::ready || now.status == Status::valid) return now;
  parts_->problem = now.error.value_or(Problem{});
  if (!now.error) {
    return Error{Errc::denied, "acme: the order is " + std::string(name_of(now.status))};
  }
  const Errc code = error_of(*now.error, 0).code == Errc::busy ? Errc::busy : Errc::denied;
  return Error{code, now.error->text()}.within("acme: order");
}

Result<std::string> Client::download(const Order& order, std::string_view preferred_issuer,
                                     const Deadline& by) {
  constexpr std::string_view chain_type = "application/pem-certificate-chain";
  PX_CHECK(directory(by));
  PX_TRY(const Parts::As as, parts_->account());
  PX_TRY(const Response first, parts_->post("download", order.certificate, {}, as, by, chain_type));
  auto chain = tls::read_issued(first.body);
  if (!chain) return Error{Errc::protocol, chain.error().detail}.within("acme: download");
  if (preferred_issuer.empty()) return chain->chain_pem;
  if (chain->issuers.back() == preferred_issuer) return chain->chain_pem;
  for (const std::string& url : links(first, "alternate")) {
    PX_TRY(const Response other, parts_->post("download", url, {}, as, by, chain_type));
    auto alternate = tls::read_issued(other.body);
    if (alternate && alternate->issuers.back() == preferred_issuer) return alternate->chain_pem;
  }
  return chain->chain_pem;
}

Result<Authorization> Client::authorization(std::string_view url, const Deadline& by) {
  PX_CHECK(directory(by));
  PX_TRY(const Response answer, parts_->post_as_account("authorization", std::string(url), {}, by));
  return read_authorization(answer.body, std::string(url));
}

std::string Client::key_authorization(const Challenge& challenge) const {
  return challenge.token + "." + parts_->key.thumbprint();
}

Result<void> Client::respond(const Challenge& challenge, const Deadline& by) {
  PX_CHECK(directory(by));
  PX_CHECK(parts_->post_as_account("challenge", challenge.url, "{}", by));
  return {};
}

Result<void> Client::await(const Authorization& authorization, const Deadline& by) {
  Authorization now = authorization;
  Millis looks = first_look;
  while (now.status == Status::pending) {
    PX_CHECK(parts_->wait(looks, by));
    PX_TRY(now, this->authorization(authorization.url, by));
  }
  if (now.status == Status::valid) return {};
  for (const Challenge& challenge : now.challenges) {
    if (!challenge.error) continue;
    parts_->problem = *challenge.error;
    const Errc code = error_of(*challenge.error, 0).code == Errc::busy ? Errc::busy : Errc::denied;
    return Error{code, challenge.error->text()}.within(now.identifier);
  }
  return Error{Errc::denied, "the authorization is " + std::string(name_of(now.status))}.within(
      now.identifier);
}

Result<void> Client::deactivate(const Authorization& authorization, const Deadline& by) {
  PX_CHECK(directory(by));
  PX_CHECK(parts_->post_as_account("deactivate authorization", authorization.url,
                                   text_of_status("deactivated"), by));
  return {};
}

Result<void> Client::revoke(std::string_view certificate_pem, int reason, const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  if (offers.revoke_cert.empty()) return not_offered("revocation");
  PX_TRY(const std::string payload, revocation(certificate_pem, reason));
  PX_CHECK(parts_->post_as_account("revoke", offers.revoke_cert, payload, by));
  return {};
}

Result<void> Client::revoke_with_key(std::string_view certificate_pem, std::string_view key_pem,
                                     int reason, const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  if (offers.revoke_cert.empty()) return not_offered("revocation");
  PX_TRY(const std::string payload, revocation(certificate_pem, reason));
  PX_TRY(const tls::Signer key, tls::Signer::load(key_pem));
  PX_CHECK(parts_->post("revoke", offers.revoke_cert, payload, Parts::As{key, {}}, by));
  return {};
}

Result<RenewalInfo> Client::renewal_info(std::string_view renewal_id, const Deadline& by) {
  PX_TRY(const Directory offers, directory(by));
  if (offers.renewal_info.empty()) return not_offered("renewal information");
  std::string url = offers.renewal_info;
  if (!url.ends_with('/')) url += '/';
  PX_TRY(const Response answer, parts_->get("renewal information", url.append(renewal_id), by));
  auto info = read_renewal_info(answer.body);
  if (!info) return std::move(info).error().within("acme");
  info->retry_after_s =
      std::clamp(client::retry_after(answer, base::now_s()).value_or(default_renewal_info),
                 soonest_renewal_info, latest_renewal_info);
  return info;
}

Result<std::string> new_key() {
  return tls::generate_key(tls::KeyType::ecdsa);
}

Result<std::string> renewal_id(std::string_view chain_pem) {
  PX_TRY(const tls::Issued issued, tls::read_issued(chain_pem));
  if (issued.authority_key_id.empty()) {
    return Error{Errc::invalid, "the certificate does not name its authority's key"};
  }
  return base::base64url(issued.authority_key_id) + "." + base::base64url(issued.serial);
}

}  // namespace proxycore::acme
