#include "base/file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <fmt/format.h>

namespace proxycore::base {

namespace {

constexpr std::size_t first_part = 16 << 10;

Error failed(const std::string& path, int reason) {
  const Errc code = reason == ENOENT || reason == ENOTDIR ? Errc::not_found
                    : reason == EACCES || reason == EPERM ? Errc::denied
                    : reason == EISDIR                    ? Errc::invalid
                                                          : Errc::io;
  return {code, fmt::format("{}: cannot be read: {}", path, std::strerror(reason))};
}

std::string size_text(std::size_t size) {
  if (size % (1U << 20U) == 0) return fmt::format("{} MiB", size >> 20U);
  if (size % (1U << 10U) == 0) return fmt::format("{} KiB", size >> 10U);
  return fmt::format("{} bytes", size);
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t most) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             std::fclose);
  if (!file) return failed(path, errno);
  // Its size is not asked for: of a pipe or a device there is none.
  std::string text;
  std::size_t size = 0;
  do {
    text.resize(std::min(most + 1, std::max(2 * size, first_part)));
    size += std::fread(text.data() + size, 1, text.size() - size, file.get());
    if (std::ferror(file.get()) != 0) return failed(path, errno);
  } while (size == text.size() && size <= most);
  if (size > most) {
    return Error{Errc::limit, fmt::format("{}: expected at most {}", path, size_text(most))};
  }
  text.resize(size);
  return text;
}

}  // namespace proxycore::base
