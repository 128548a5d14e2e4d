#include "certs/sealer.h"

#include "base/file.h"
#include "base/text.h"
#include "tls/seal.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

constexpr std::string_view mark = "sealed:1:";
constexpr std::size_t most_file = 1 << 10;  // bytes

Error failed(const std::string& path, std::string_view operation, int reason) {
  const bool denied = reason == EACCES || reason == EPERM || reason == EROFS;
  return {denied ? Errc::denied : Errc::io,
          fmt::format("{}: cannot be {}: {}", path, operation, std::strerror(reason))};
}

std::optional<std::string> parse_key(std::string_view text) {
  while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos) {
    text.remove_suffix(1);
  }
  std::array<unsigned char, tls::seal_key_size> bytes{};
  if (text.size() == 2 * bytes.size() && base::parse_hex(text, bytes)) {
    return std::string(bytes.begin(), bytes.end());
  }
  auto decoded = base::parse_base64(text);
  if (!decoded || decoded->size() != tls::seal_key_size) return std::nullopt;
  return decoded;
}

Result<std::string> read_key(const std::string& path) {
  PX_TRY(const std::string text, base::read_file(path, most_file));
  auto key = parse_key(text);
  if (!key) {
    return Error{Errc::invalid,
                 path + ": expected a key of 32 bytes, as 64 hex digits or as base64url"};
  }
  return *std::move(key);
}

Result<void> check_mode(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return failed(path, "read", errno);
  const auto mode = static_cast<unsigned>(status.st_mode) & 07777U;
  if ((mode & 077U) == 0) return {};
  return Error{Errc::invalid,
               fmt::format("{}: mode {:04o} lets others read the key; expected 0600", path, mode)};
}

// All of it, on the disk. 0: done; else errno.
int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(file) == 0 ? 0 : errno;
}

// So that the name of a new file is on the disk, too.
void sync_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int opened = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return;
  ::fsync(opened);
  ::close(opened);
}

// Under a name of its own first: nobody finds half a key, and of several processes one wins.
Result<void> make_key(const std::string& path) {
  PX_TRY(const std::string key, tls::generate_seal_key());
  const std::string text =
      base::hex({reinterpret_cast<const unsigned char*>(key.data()), key.size()}) + "\n";
  std::string temporary = path + ".XXXXXX";
  const int file = ::mkostemp(temporary.data(), O_CLOEXEC);  // mode 0600
  if (file < 0) return failed(path, "made", errno);
  int status = write_all(file, text);
  ::close(file);
  if (status == 0 && ::link(temporary.c_str(), path.c_str()) != 0 && errno != EEXIST) {
    status = errno;
  }
  ::unlink(temporary.c_str());
  if (status != 0) return failed(path, "made", status);
  sync_directory_of(path);
  return {};
}

}  // namespace

Result<Sealer> Sealer::open(const std::string& path) {
  if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY"); directory != nullptr) {
    const std::string credential = std::string(directory) + "/proxycore.key";
    auto key = read_key(credential);
    if (key) return Sealer(*std::move(key), credential);
    if (key.error().code != Errc::not_found) return std::move(key).error();
  }
  auto key = read_key(path);
  if (!key && key.error().code == Errc::not_found) {
    PX_CHECK(make_key(path));
    key = read_key(path);
  }
  if (!key) return std::move(key).error();
  PX_CHECK(check_mode(path));
  return Sealer(*std::move(key), path);
}

Result<std::string> Sealer::seal(std::string_view place, std::string_view secret) const {
  PX_TRY(const std::string bytes, tls::seal(key_, secret, place));
  return std::string(mark) + base::base64url(bytes);
}

Result<std::string> Sealer::open(std::string_view place, std::string_view text) const {
  if (!text.starts_with(mark)) return std::string(text);
  const auto bytes = base::parse_base64(text.substr(mark.size()));
  auto secret = bytes ? tls::unseal(key_, *bytes, place)
                      : Result<std::string>(Error{Errc::invalid, "is not base64url"});
  if (!secret) {
    return std::move(secret).error().within(
        fmt::format("sealed {} and the key in {}", place, file_));
  }
  return secret;
}

}  // namespace proxycore::certs
