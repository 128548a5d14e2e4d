// Privileges: from root to an ordinary user, keeping only what binding low ports takes, and later
// not even that. Also the limit on open descriptors and the pid file.
//
// The user is changed before anything else is opened, so that the store and the logs belong to the
// user who goes on using them; CAP_NET_BIND_SERVICE stays until the listeners are bound.
// Source: capabilities(7). Thread: main, before any other exists.
#pragma once

#include <proxycore/result.h>

#include <string>

// Becomes `user` (and `group`, or the user's own). Nothing happens if `user` is empty.
// Errors: not_found (no such user or group), denied (not started as root), io.
proxycore::Result<void> become(const std::string& user, const std::string& group);
// Gives up binding low ports too, for good.
proxycore::Result<void> drop_capabilities();
// As many descriptors as the system lets us have.
void raise_descriptor_limit();
// Writes our pid, atomically. Errors: io (names the path).
proxycore::Result<void> write_pid_file(const std::string& path);
