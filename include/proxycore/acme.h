// ACME: getting certificates from an authority (CA) that speaks RFC 8555.
//
// obtain() is the whole protocol, from names to a chain; Client has each of its steps, and what
// else an account can do. How a CA's challenges are met is a Solver's; who keeps what, when
// something is renewed, and what a refusal means for the next try is the caller's. All calls block.
// Source: RFC 8555, RFC 9773 (renewal information), draft-ietf-acme-profiles. Thread: a Client and
// what is done with it belong to one thread at a time.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::acme {

// What a CA says when it refuses (RFC 8555 §6.7, RFC 9457).
struct Problem {
  std::uint16_t status = 0;
  std::string type = {};        // "rateLimited": without what all ACME errors begin with
  std::string detail = {};      // for people
  std::string instance = {};    // a page to read, or to act on
  std::string identifier = {};  // of a subproblem: whose it is
  std::vector<Problem> subproblems = {};

  // "rateLimited: too many new orders; a.test: dns: no such name".
  [[nodiscard]] std::string text() const;
};

struct Profile {
  std::string name;
  std::string description;
};

// What a CA offers (RFC 8555 §7.1.1). Empty: it does not.
struct Directory {
  std::string new_nonce;
  std::string new_account;
  std::string new_order;
  std::string revoke_cert = {};
  std::string key_change = {};
  std::string renewal_info = {};  // RFC 9773
  std::string terms_of_service = {};
  std::string website = {};
  std::vector<std::string> caa_identities = {};
  bool external_account_required = false;
  std::vector<Profile> profiles = {};
};

enum class Status : std::uint8_t {
  pending,
  processing,
  ready,
  valid,
  invalid,
  deactivated,
  expired,
  revoked,
};
// "pending", ...: as RFC 8555 §7.1.6 spells them.
std::string_view name_of(Status status) noexcept;

struct Account {
  std::string url;
  Status status = Status::valid;
  std::vector<std::string> contact = {};  // "mailto:..."
};

// What binds an account to one that the CA knows otherwise (RFC 8555 §7.3.4).
struct ExternalAccount {
  std::string key_id;
  std::string mac_key;  // base64, as CAs give it
};

struct Registration {
  std::vector<std::string> contact = {};  // "mailto:admin@example.com"
  bool agree_tos = false;                 // to Directory::terms_of_service
  std::optional<ExternalAccount> external = {};
};

struct Challenge {
  std::string type;  // "http-01"
  std::string url;
  Status status = Status::pending;
  std::string token = {};
  std::optional<Problem> error = {};
};

struct Authorization {
  std::string url;
  std::string identifier;  // without "*."
  bool wildcard = false;
  Status status = Status::pending;
  std::vector<Challenge> challenges = {};
};

struct Order {
  std::string url;
  Status status = Status::pending;
  std::vector<std::string> identifiers = {};     // in the CA's order
  std::vector<std::string> authorizations = {};  // urls
  std::string finalize = {};
  std::string certificate = {};  // once it is valid
  std::optional<Problem> error = {};
};

struct OrderRequest {
  std::vector<std::string> names;  // canonical; "*." is a wildcard
  std::string profile = {};        // one of Directory::profiles; empty: the CA's default
  std::string replaces = {};       // renewal_id() of the certificate that this one is to follow
};

// When a CA wants a certificate to be renewed (RFC 9773 §4.2). Seconds since 1970.
struct RenewalInfo {
  std::int64_t start = 0;
  std::int64_t end = 0;
  std::string explanation_url = {};
  std::uint32_t retry_after_s = 0;  // when to ask again: a minute to a day
};

// A private key for an account or a certificate, as PEM: P-256. Errors: io (no random bytes).
Result<std::string> new_key();

// By what a CA knows a certificate (RFC 9773 §4.1). Errors: invalid (no certificate, or one without
// the identifier of its authority's key).
Result<std::string> renewal_id(std::string_view chain_pem);

// Errors of its calls: busy (the CA is out of order, or wants to be left alone: retry_after_s if it
// said for how long), denied (it refuses, for a name or altogether), invalid (it does not take what
// we sent), conflict (the wrong moment: replaced, revoked or changed already), not_found (no such
// account, order or certificate; nothing that the CA offers), limit, protocol (an answer that makes
// no sense), and those of a connection. `detail` has the CA's own words.
class Client {
 public:
  struct Options {
    std::string directory;         // url
    std::string account_key;       // PEM: P-256, P-384 or RSA
    std::string account_url = {};  // if the key has one already; empty: not known
    std::string ca_pem = {};       // roots that its own server is verified by, besides the system's
    std::string proxy = {};        // "http://user:password@host:3128" that it is reached by
    std::string user_agent = {};   // empty: "proxycore/<version>"
    std::string languages = "en";  // of what people are to read (RFC 9110 §12.5.4)
  };
  // Asks nobody yet. Errors: invalid (a field).
  static Result<Client> create(Options options);
  Client(Client&& from) noexcept;
  Client& operator=(Client&& from) noexcept;
  ~Client();

  // Fetched when there is none, or it is too old.
  Result<Directory> directory(const Deadline& by);
  // What the CA said last when it refused; an empty type: the last call went well, or failed
  // otherwise.
  [[nodiscard]] const Problem& problem() const noexcept;

  // Accounts (RFC 8555 §7.3). All that follows needs one: its url comes from here or the options.
  [[nodiscard]] const std::string& account_url() const noexcept;
  // Makes one, or finds the one of this key. Errors: denied (terms, or an external account, ...).
  Result<Account> register_account(const Registration& registration, const Deadline& by);
  // Errors: not_found (the key has none).
  Result<Account> find_account(const Deadline& by);
  Result<Account> update_contact(const std::vector<std::string>& contact, const Deadline& by);
  // From then on this client signs with the new key. Errors: conflict (it has an account already).
  Result<void> change_key(std::string_view new_key_pem, const Deadline& by);
  Result<void> deactivate_account(const Deadline& by);

  // Orders (§7.4).
  Result<Order> new_order(const OrderRequest& request, const Deadline& by);
  Result<Order> order(std::string_view url, const Deadline& by);
  // `csr_pem` is for exactly the order's names.
  Result<Order> finalize(const Order& order, std::string_view csr_pem, const Deadline& by);
  // Asks again until it is neither pending nor processing. Errors: denied (it is invalid).
  Result<Order> await(const Order& order, const Deadline& by);
  // The chain whose last certificate is signed by `preferred_issuer` (a common name), else the
  // CA's default. In order, without a root.
  Result<std::string> download(const Order& order, std::string_view preferred_issuer,
                               const Deadline& by);

  // Authorizations (§7.5).
  Result<Authorization> authorization(std::string_view url, const Deadline& by);
  // What meets a challenge: the token and the account key's thumbprint (§8.1).
  [[nodiscard]] std::string key_authorization(const Challenge& challenge) const;
  // Tells the CA to have a look.
  Result<void> respond(const Challenge& challenge, const Deadline& by);
  // Asks again until it is not pending. Errors: denied (the CA did not see what it wanted).
  Result<void> await(const Authorization& authorization, const Deadline& by);
  Result<void> deactivate(const Authorization& authorization, const Deadline& by);

  // Revocation (§7.6) by the account, or with the certificate's own key. `reason`: RFC 5280 §5.3.1.
  Result<void> revoke(std::string_view certificate_pem, int reason, const Deadline& by);
  Result<void> revoke_with_key(std::string_view certificate_pem, std::string_view key_pem,
                               int reason, const Deadline& by);

  // Errors: not_found (the CA has no such service, or does not know the certificate).
  Result<RenewalInfo> renewal_info(std::string_view renewal_id, const Deadline& by);

 private:
  class Parts;
  explicit Client(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// What a solver has to show for a challenge.
struct Proof {
  std::string identifier;  // without "*."
  bool wildcard = false;
  std::string token;
  std::string key_authorization;
};

// Meets one type of challenges. Thread: that of obtain().
class Solver {
 public:
  virtual ~Solver() = default;

  [[nodiscard]] virtual std::string_view type() const noexcept = 0;  // "http-01"
  // Proofs of the same lane are shown one after the other; an empty one: all at once.
  virtual Result<std::string> lane(const Proof& proof, const Deadline& by);
  virtual Result<void> present(const Proof& proof, const Deadline& by) = 0;
  // Until the CA should see it. Errors: any; but for cancelled, and where `by` has passed, the CA
  // is asked all the same, once.
  virtual Result<void> await_visible(const Proof& proof, const Deadline& by) = 0;
  // Always called after present(), however that went.
  virtual void clean_up(const Proof& proof) noexcept = 0;
};

enum class Step : std::uint8_t {
  account,   // registers, or finds the account
  order,     // places it, or looks at the one to go on with
  present,   // shows a proof
  visible,   // waits until it can be seen
  respond,   // asks the CA to look
  validate,  // waits for the CA's verdict
  finalize,  // sends the request for the certificate
  issue,     // waits for the certificate
  download,
};
// "account", ...: the enumerator's name.
std::string_view name_of(Step step) noexcept;

// Told of everything before it is done. An error of it ends obtain(), which then leaves the order
// as it is, to go on with later.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual Result<void> on_step(Step step, std::string_view detail);
  // There is an account, new or found, that was not known before.
  virtual Result<void> on_account(const Account& account);
  // The order to go on with after a crash; empty: there is none any more.
  virtual Result<void> on_order(std::string_view url);
};

struct ObtainOptions {
  std::vector<std::string> names;     // of the certificate; canonical
  std::string key_pem;                // its private key
  std::string profile = {};           // as OrderRequest
  std::string replaces = {};          // as OrderRequest
  std::string preferred_issuer = {};  // as Client::download()
  std::string resume_order_url = {};  // of the same names and key; empty: none
  Registration registration = {};     // for when there is no account, or it is gone
};

struct Obtained {
  std::string chain_pem;
  std::string order_url;
  bool replaced = false;  // the CA took it as the replacement of `replaces`
};

// From names to a certificate, for which a solver is chosen by what the CA offers, the first
// first. After a refusal what was shown is taken away and what is pending is given up, so that
// nothing is left behind at the CA; when cancelled, or out of time, the order stays.
// Errors: those of Client, Solver and Progress, with the step before; invalid (names, key).
Result<Obtained> obtain(Client& ca, const ObtainOptions& wanted, std::span<Solver* const> solvers,
                        Progress& progress, const Deadline& by);

}  // namespace proxycore::acme
