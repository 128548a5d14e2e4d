// Certificates of a store as files, laid out as other software keeps them, for moving away.
//
// Each file appears whole or not at all and is on the disk before the next; keys are for their
// owner's eyes only. What is there already stays, unless it may be replaced. Not here: which names
// (renew.h). Thread: any; blocks.
#pragma once

#include <proxycore/cert.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>

#include <string>
#include <string_view>
#include <vector>

namespace proxycore::certs {

struct Exported {
  std::string name;                     // "app.example.com", "*.example.com"
  std::vector<std::string> names = {};  // in the certificate
  CertBundle bundle = {};
  std::string directory_url = {};  // of the CA that gave it, as far as is known
};

// Below `to`. `is_second`: the certificate for the name without "*." is written as well.
// Errors: conflict (it is there, and may not be replaced), invalid (the name), denied, io; each
// names the file.
Result<void> export_to(const std::string& to, CertificateLayout layout, const Exported& one,
                       bool is_second, bool may_replace);

}  // namespace proxycore::certs
