// Getting a certificate with the ACME client alone: proofs of http-01 go into the directory that a
// web server has for its root, as if somebody had put them there by hand.
//
// usage: webroot CA_URL WEB_ROOT NAME [CA_ROOT.pem]
// Writes NAME.key and NAME.pem into the current directory; running it agrees to the CA's terms. The
// file is for a CA that the system does not know, as one for tests.
#include <proxycore/acme.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

namespace acme = proxycore::acme;
using proxycore::Deadline;
using proxycore::Result;

bool write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return file.flush().good();
}

bool write_secret(const std::filesystem::path& path, const std::string& text) {
  using std::filesystem::perms;
  std::error_code failed;
  if (!write(path, {})) return false;
  std::filesystem::permissions(path, perms::owner_read | perms::owner_write, failed);
  return !failed && write(path, text);
}

class WebRoot final : public acme::Solver {
 public:
  explicit WebRoot(const std::filesystem::path& root)
      : place_(root / ".well-known" / "acme-challenge") {}

  [[nodiscard]] std::string_view type() const noexcept override { return "http-01"; }
  Result<void> present(const acme::Proof& proof, const Deadline& /*by*/) override {
    std::error_code failed;
    std::filesystem::create_directories(place_, failed);
    // A token is a safe name: the client has seen to it.
    if (write(place_ / proof.token, proof.key_authorization)) return {};
    return proxycore::Error{proxycore::Errc::io, "cannot write into " + place_.string()};
  }
  Result<void> await_visible(const acme::Proof& /*proof*/, const Deadline& /*by*/) override {
    return {};
  }
  void clean_up(const acme::Proof& proof) noexcept override {
    std::error_code ignored;
    std::filesystem::remove(place_ / proof.token, ignored);
  }

 private:
  const std::filesystem::path place_;
};

class Shown final : public acme::Progress {
  Result<void> on_step(acme::Step step, std::string_view detail) override {
    std::printf("%s: %s\n", std::string(name_of(step)).c_str(), std::string(detail).c_str());
    std::fflush(stdout);
    return {};
  }
};

Result<void> run(std::string url, const std::string& root, const std::string& name,
                 std::string ca_pem) {
  PX_TRY(std::string account_key, acme::new_key());  // whoever renews keeps it, and the account
  PX_TRY(acme::Client client, acme::Client::create({.directory = std::move(url),
                                                    .account_key = std::move(account_key),
                                                    .ca_pem = std::move(ca_pem)}));
  acme::ObtainOptions wanted;
  wanted.names = {name};
  PX_TRY(wanted.key_pem, acme::new_key());
  wanted.registration.agree_tos = true;
  if (!write_secret(name + ".key", wanted.key_pem))
    return proxycore::Error{proxycore::Errc::io, "key"};

  WebRoot solver(root);
  Shown progress;
  const std::array<acme::Solver*, 1> solvers = {&solver};
  PX_TRY(const acme::Obtained got,
         acme::obtain(client, wanted, solvers, progress, Deadline::in(proxycore::Millis{300'000})));
  if (!write(name + ".pem", got.chain_pem)) return proxycore::Error{proxycore::Errc::io, "chain"};
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    return std::fputs("usage: webroot CA_URL WEB_ROOT NAME [CA_ROOT.pem]\n", stderr), 2;
  }
  std::stringstream ca_pem;
  if (argc == 5) ca_pem << std::ifstream(argv[4]).rdbuf();
  const auto done = run(argv[1], argv[2], argv[3], ca_pem.str());
  if (!done) return std::fprintf(stderr, "%s\n", done.error().message().c_str()), 1;
  std::printf("%s.pem and %s.key are there\n", argv[3], argv[3]);
}
