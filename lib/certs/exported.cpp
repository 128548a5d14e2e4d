#include "certs/exported.h"

#include "base/json.h"
#include "certs/story.h"
#include "client/url.h"
#include "store/repo.h"
#include "tls/cert.h"
#include <proxycore/host.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace fs = std::filesystem;

constexpr mode_t for_owner = 0600;

// A file descriptor that is closed with its object.
class Opened {
 public:
  explicit Opened(int number) noexcept : number_(number) {}
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const noexcept { return number_; }

 private:
  const int number_;
};

Error failed_at(const fs::path& path, int code) {
  const Errc kind = code == EACCES || code == EPERM ? Errc::denied : Errc::io;
  return {kind, fmt::format("{}: {}", path.string(), std::strerror(code))};
}

Result<void> synced(const fs::path& directory) {
  const Opened opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0 || ::fsync(opened.get()) != 0) return failed_at(directory, errno);
  return {};
}

// Those that it makes are for their owner only; others stay as they are.
Result<void> make_directories(const fs::path& path) {
  if (path.empty() || fs::is_directory(path)) return {};
  PX_CHECK(make_directories(path.parent_path()));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed_at(path, errno);
  return {};
}

Result<void> moved(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed_at(to, errno);
  return synced(to.parent_path());
}

fs::path next_to(const fs::path& path) {
  return path.string() + fmt::format(".{}.new", ::getpid());
}

Result<void> write_file(const fs::path& path, std::string_view text) {
  const fs::path next = next_to(path);
  ::unlink(next.c_str());
  const Opened file(::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, for_owner));
  if (file.get() < 0) return failed_at(next, errno);
  const auto give_up = [&](int code) {
    ::unlink(next.c_str());
    return failed_at(path, code);
  };
  while (!text.empty()) {
    const ssize_t count = ::write(file.get(), text.data(), text.size());
    if (count < 0 && errno != EINTR) return give_up(errno);
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fsync(file.get()) != 0) return give_up(errno);
  return moved(next, path);
}

Result<void> write_link(const fs::path& path, const fs::path& target) {
  const fs::path next = next_to(path);
  ::unlink(next.c_str());
  if (::symlink(target.c_str(), next.c_str()) != 0) return failed_at(path, errno);
  return moved(next, path);
}

// Of a chain: the certificate, and what signed it.
struct Parts {
  std::string_view certificate;
  std::string_view rest;
};
Parts parts_of(std::string_view chain) {
  constexpr std::string_view end = "-----END CERTIFICATE-----\n";
  const std::size_t at = chain.find(end);
  if (at == std::string_view::npos) return {chain, {}};
  return {chain.substr(0, at + end.size()), chain.substr(at + end.size())};
}

struct File {
  fs::path path;
  std::string text = {};
  fs::path target = {};  // if not empty: it is a link there
};

std::vector<File> as_certbot(const fs::path& to, const Exported& one, bool beside_another) {
  std::string lineage = one.name.starts_with("*.") ? one.name.substr(2) : one.name;
  if (beside_another) lineage += "-0001";
  const fs::path live = to / "live" / lineage;
  const fs::path archive = to / "archive" / lineage;
  const Parts parts = parts_of(one.bundle.chain_pem);
  std::vector<File> files;
  std::string conf = fmt::format("archive_dir = {}\n", archive.string());
  const auto add = [&](std::string_view kind, std::string_view text) {
    files.push_back({.path = archive / fmt::format("{}1.pem", kind), .text = std::string(text)});
    conf += fmt::format("{0} = {1}/{0}.pem\n", kind, live.string());
  };
  add("cert", parts.certificate);
  add("privkey", one.bundle.key_pem);
  add("chain", parts.rest);
  add("fullchain", one.bundle.chain_pem);
  for (const std::string_view kind : {"cert", "privkey", "chain", "fullchain"}) {
    files.push_back({.path = live / fmt::format("{}.pem", kind),
                     .target = fs::path("../../archive") / lineage / fmt::format("{}1.pem", kind)});
  }
  conf += "\n[renewalparams]\n";
  if (!one.directory_url.empty()) conf += fmt::format("server = {}\n", one.directory_url);
  files.push_back({.path = to / "renewal" / (lineage + ".conf"), .text = conf});
  return files;
}

std::vector<File> as_certmagic(const fs::path& to, const Exported& one) {
  std::string issuer = "unknown";
  if (const auto url = client::Url::parse(one.directory_url)) {
    issuer = url->authority() + url->target;
    std::replace_if(
        issuer.begin(), issuer.end(), [](char c) { return c == '/' || c == ':' || c == '?'; }, '-');
  }
  const std::string name = one.name.starts_with('*') ? "wildcard_" + one.name.substr(1) : one.name;
  const fs::path folder = to / "certificates" / issuer / name;
  std::string about;
  base::json::Writer json(about);
  json.begin_object().key("sans").begin_array();
  for (const std::string& san : one.names) json.value(san);
  json.end_array().key("issuer_data").begin_object();
  if (!one.directory_url.empty()) json.field("ca", one.directory_url);
  json.end_object().end_object();
  return {{.path = folder / (name + ".crt"), .text = one.bundle.chain_pem},
          {.path = folder / (name + ".key"), .text = one.bundle.key_pem},
          {.path = folder / (name + ".json"), .text = about}};
}

}  // namespace

Result<void> export_to(const std::string& to, CertificateLayout layout, const Exported& one,
                       bool is_second, bool may_replace) {
  if (one.name.empty() || one.name.find('/') != std::string::npos || one.name.starts_with('.')) {
    return Error{Errc::invalid, fmt::format("'{}' is no name of a host", one.name)};
  }
  std::error_code failure;
  const fs::path root = fs::absolute(to, failure).lexically_normal();
  if (failure) return failed_at(to, failure.value());
  const std::vector<File> files = layout == CertificateLayout::certbot
                                      ? as_certbot(root, one, is_second)
                                      : as_certmagic(root, one);
  for (const File& file : files) {
    if (!may_replace && fs::exists(fs::symlink_status(file.path, failure))) {
      return Error{Errc::conflict, fmt::format("{}: it is there already", file.path.string())};
    }
  }
  for (const File& file : files) {
    PX_CHECK(make_directories(file.path.parent_path()));
    PX_CHECK(file.target.empty() ? write_file(file.path, file.text)
                                 : write_link(file.path, file.target));
  }
  return {};
}

namespace {

// The directory of the CA that gave a certificate; the first, where nobody knows.
std::string directory_of(const Config& config, Store& store, std::string_view name,
                         const Deadline& by) {
  const auto story = load_story(store, name, by);
  for (const Config::Issuer& issuer : config.issuers) {
    const auto url = client::Url::parse(issuer.directory);
    if (story && url && url->authority() == story->ca) return issuer.directory;
  }
  return config.acme.directory;
}

}  // namespace

}  // namespace proxycore::certs

namespace proxycore {

Result<std::size_t> export_certificates(const Config& config, Store& store,
                                        const CertificateExport& wanted, const Deadline& by) {
  std::map<std::string, store::Certificate, std::less<>> kept;
  for (const std::string& name : wanted.names) {
    PX_TRY(const std::string canonical, HostName::canonical_pattern(name));
    auto one = store::load<store::Certificate>(store, canonical, by);
    if (!one) return std::move(one).error().within(canonical);
    kept.insert_or_assign(canonical, *std::move(one));
  }
  if (wanted.names.empty()) {
    PX_CHECK(store::for_each<store::Certificate>(
        store, [&](store::Certificate&& one) { kept.insert_or_assign(one.name, std::move(one)); },
        [](std::string_view, const Error&) {}, by));
  }
  std::size_t count = 0;
  for (auto& [name, one] : kept) {
    certs::Exported exported{.name = name,
                             .bundle = {one.fullchain_pem, one.privkey_pem},
                             .directory_url = certs::directory_of(config, store, name, by)};
    auto certificate = tls::Certificate::load(exported.bundle);
    if (!certificate) {
      if (!wanted.names.empty()) return std::move(certificate).error().within(name);
      continue;  // what is no certificate is of no use to anybody
    }
    exported.names = (*certificate)->names();
    const bool is_second = name.starts_with("*.") && kept.find(name.substr(2)) != kept.end();
    PX_CHECK(
        certs::export_to(wanted.directory, wanted.layout, exported, is_second, wanted.replace));
    ++count;
  }
  return count;
}

}  // namespace proxycore
