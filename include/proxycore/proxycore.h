// Everything of libproxycore's public interface.
#pragma once

#include <proxycore/acme.h>
#include <proxycore/admin.h>
#include <proxycore/cert.h>
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/dns_provider.h>
#include <proxycore/handler.h>
#include <proxycore/host.h>
#include <proxycore/host_trie.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/server.h>
#include <proxycore/store.h>
#include <proxycore/tls.h>
