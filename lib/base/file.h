// Reading a whole file, bounded: configuration, certificates, keys.
//
// Not here: files that are written (line_writer, store) and what stands in them.
// Thread: any; blocks.
#pragma once

#include <proxycore/result.h>

#include <cstddef>
#include <string>

namespace proxycore::base {

// All bytes of the file. Errors, which name the path: not_found, denied, invalid (a directory),
// limit (over `most` bytes), io.
Result<std::string> read_file(const std::string& path, std::size_t most);

}  // namespace proxycore::base
