// Signals of a service that is a Server: TERM and INT drain it, a second one ends it at once, HUP
// reads the configuration again, USR1 reopens the logs.
#pragma once

#include <proxycore/proxycore.h>

#include <csignal>
#include <string>

// Before the first thread: all of them leave these signals to run_until_told().
sigset_t block_signals();

// Serves, and reports to the service manager. `program` is for messages, `path` the configuration.
// Errors: those of Server::run().
proxycore::Result<void> run_until_told(proxycore::Server& server, const std::string& program,
                                       const std::string& path, const sigset_t& blocked);
