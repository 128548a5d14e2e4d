#include "privileges.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

using proxycore::Errc;
using proxycore::Error;
using proxycore::Result;

namespace {

Error failed(const std::string& what) {
  const int reason = errno;
  return {reason == EPERM ? Errc::denied : Errc::io, what + ": " + std::strerror(reason)};
}

// Keeps the capabilities in `mask` and no others.
Result<void> keep_only(std::uint32_t mask) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {{mask, mask, 0}, {0, 0, 0}};
  if (::syscall(SYS_capset, &header, data) != 0) return failed("capset");
  return {};
}

}  // namespace

Result<void> become(const std::string& user, const std::string& group) {
  if (user.empty()) return {};
  errno = 0;
  const passwd* account = ::getpwnam(user.c_str());
  if (account == nullptr) {
    return Error{Errc::not_found, "process.user: there is no user '" + user + "'"};
  }
  const uid_t uid = account->pw_uid;
  gid_t gid = account->pw_gid;
  if (!group.empty()) {
    const struct group* entry = ::getgrnam(group.c_str());
    if (entry == nullptr) {
      return Error{Errc::not_found, "process.group: there is no group '" + group + "'"};
    }
    gid = entry->gr_gid;
  }
  if (::geteuid() == uid && ::getegid() == gid) return {};
  if (::geteuid() != 0) {
    return Error{Errc::denied,
                 "process.user: expected to be started as root or as '" + user + "' itself"};
  }
  if (::initgroups(user.c_str(), gid) != 0) return failed("process.user: initgroups");
  if (::setresgid(gid, gid, gid) != 0) return failed("process.group: setresgid");
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return failed("process.user: prctl");
  if (::setresuid(uid, uid, uid) != 0) return failed("process.user: setresuid");
  return keep_only(1U << CAP_NET_BIND_SERVICE);
}

Result<void> drop_capabilities() {
  if (auto none = keep_only(0); !none) return none;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("prctl");
  return {};
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<void> write_pid_file(const std::string& path) {
  if (path.empty()) return {};
  const std::string fresh = path + ".new";
  std::FILE* file = std::fopen(fresh.c_str(), "we");
  if (file == nullptr) return failed("process.pid_file: " + fresh);
  std::fprintf(file, "%d\n", static_cast<int>(::getpid()));
  if (std::fclose(file) != 0 || std::rename(fresh.c_str(), path.c_str()) != 0) {
    return failed("process.pid_file: " + path);
  }
  return {};
}
