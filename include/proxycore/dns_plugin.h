/* The C interface of DNS provider plugins, version 1: a shared object that exports
 * proxycore_dns_plugin_v1() and does for its vendor what dns::Provider (dns_provider.h) does.
 *
 * C99, and it includes nothing of the project: a plugin links nothing of ours, either. What it
 * needs of the world (HTTP, DNS, log, clock) its host lends it, so that a plugin needs no TLS of
 * its own. The rules (versions, sizes, who owns what, threads) are in docs/plugin-abi.md; in short:
 * read no more of a struct than its `size` says, free nothing that you did not allocate, return
 * before you are called again. Thread: calls on one `self` come one after the other, from any
 * thread.
 */
#ifndef PROXYCORE_DNS_PLUGIN_H
#define PROXYCORE_DNS_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(readability-identifier-naming): C has its own customs */

#define PROXYCORE_DNS_ABI 1

/* Bytes; with the 0 at the end, where they are arrays of char. */
#define PROXYCORE_DNS_MESSAGE 512
#define PROXYCORE_DNS_ID 128
#define PROXYCORE_DNS_VALUE 255

/* Text of `size` bytes; no 0 at its end is promised, nor needed. */
typedef struct proxycore_str {
  const char* data;
  size_t size;
} proxycore_str;

/* What every function that can fail returns; anything else is taken for PROXYCORE_DNS_UNAVAILABLE.
 */
typedef enum proxycore_dns_status {
  PROXYCORE_DNS_OK = 0,
  PROXYCORE_DNS_AUTH = 1,      /* the vendor does not know these credentials */
  PROXYCORE_DNS_FORBIDDEN = 2, /* it does, but they are not for this */
  PROXYCORE_DNS_NOT_FOUND = 3,
  PROXYCORE_DNS_ZONE_NOT_FOUND = 4,
  PROXYCORE_DNS_CONFLICT = 5,     /* something else is in the way, such as a CNAME */
  PROXYCORE_DNS_RATE_LIMITED = 6, /* later; error->retry_after_s, if the vendor says when */
  PROXYCORE_DNS_QUOTA = 7,        /* no more records in this account */
  PROXYCORE_DNS_INVALID = 8,      /* a setting, a name or a value that the vendor does not take */
  PROXYCORE_DNS_UNAVAILABLE = 9,  /* the vendor is out of order, or not to be understood */
  PROXYCORE_DNS_TIMEOUT = 10,
  PROXYCORE_DNS_UNSUPPORTED = 11,
  PROXYCORE_DNS_CANCELLED = 12 /* somebody wants us to end: return */
} proxycore_dns_status;

/* The words behind a status. It is the caller's, who has set it to nothing; whoever fails fills in
 * what he knows. */
typedef struct proxycore_dns_error {
  uint32_t size;
  uint32_t retry_after_s;              /* 0: unknown */
  char message[PROXYCORE_DNS_MESSAGE]; /* UTF-8, ends in 0; no credentials */
} proxycore_dns_error;

/* ---- What the host lends ---- */

typedef struct proxycore_http_header {
  proxycore_str name;
  proxycore_str value;
} proxycore_http_header;

typedef struct proxycore_http_request {
  uint32_t size;
  proxycore_str method;                 /* empty: GET */
  proxycore_str url;                    /* whole; http or https */
  const proxycore_http_header* headers; /* beside Host, Content-Length and User-Agent */
  size_t header_count;
  proxycore_str body;
} proxycore_http_request;

/* Set `size` before the call. */
typedef struct proxycore_http_response {
  uint32_t size;
  uint32_t status;
  const proxycore_http_header* headers;
  size_t header_count;
  proxycore_str body;
} proxycore_http_response;

typedef enum proxycore_log_level {
  PROXYCORE_LOG_DEBUG = 0,
  PROXYCORE_LOG_INFO = 1,
  PROXYCORE_LOG_WARNING = 2,
  PROXYCORE_LOG_ERROR = 3
} proxycore_log_level;

/* Called for each text, from inside the function that it was given to. */
typedef void (*proxycore_text_fn)(void* context, proxycore_str text);

/* Lives from open() to close() and is for calls from inside those of the plugin only. `self` comes
 * first in every call. */
typedef struct proxycore_dns_host {
  uint32_t size;
  uint32_t abi;
  void* self;

  /* The value of a setting; empty: it is not set. Lives until close(). */
  proxycore_str (*setting)(void* self, const char* name);

  /* Sends a request and waits for the response. It lives until the next call of http(), or until
   * the plugin returns to its host. Any status is PROXYCORE_DNS_OK but 429 and 503: those are
   * waited for if the server wants it and there is time; else they are PROXYCORE_DNS_RATE_LIMITED.
   * Ends when the time of the plugin's call is up. On a failure `error` is filled in: pass it on.
   */
  int (*http)(void* self, const proxycore_http_request* request, proxycore_http_response* response,
              proxycore_dns_error* error);

  /* Tells the TXT values of a name in the DNS. None at all is PROXYCORE_DNS_OK and no call. */
  int (*txt)(void* self, proxycore_str name, proxycore_text_fn each, void* context,
             proxycore_dns_error* error);

  /* One line for the people who run this. Values of secret settings are blotted out. */
  void (*log)(void* self, int level, proxycore_str message);

  /* The wall clock: milliseconds since 1970. */
  int64_t (*now_ms)(void* self);
} proxycore_dns_host;

/* ---- What the plugin offers ---- */

#define PROXYCORE_DNS_FIELD_OPTIONAL 1u
#define PROXYCORE_DNS_FIELD_SECRET 2u /* kept sealed, never shown again */

typedef struct proxycore_dns_field {
  const char* name;  /* "api_token" */
  const char* label; /* for people: "API token" */
  const char* help;  /* may be NULL */
  uint32_t flags;
} proxycore_dns_field;

/* Names are lower-case A-labels with no dot at the end. */
typedef struct proxycore_dns_zone {
  uint32_t size;
  proxycore_str name;
  proxycore_str id; /* the vendor's own, at most PROXYCORE_DNS_ID; may be empty */
} proxycore_dns_zone;

typedef struct proxycore_dns_record {
  uint32_t size;
  uint32_t ttl;        /* seconds; take your own minimum if that is higher */
  proxycore_str name;  /* relative to the zone; "@" is the zone itself */
  proxycore_str value; /* of the TXT record: unquoted, 1..PROXYCORE_DNS_VALUE bytes */
  proxycore_str id;    /* remove() only: what add() gave; empty: find it by its value */
} proxycore_dns_record;

typedef void (*proxycore_dns_zone_fn)(void* context, const proxycore_dns_zone* zone);

/* A name may have two values at the same time. Without it challenges come one after the other. */
#define PROXYCORE_DNS_SEVERAL_VALUES 1u

/* Static: it is never freed, and neither is the plugin ever unloaded. */
typedef struct proxycore_dns_plugin {
  uint32_t size;
  uint32_t abi;      /* PROXYCORE_DNS_ABI of the header it was built with */
  const char* type;  /* what records call it: "acme-corp-dns" */
  const char* title; /* for people */
  const char* version;
  const proxycore_dns_field* fields;
  uint32_t field_count;
  uint32_t field_size; /* sizeof(proxycore_dns_field) */
  uint32_t flags;
  uint32_t propagation_s; /* how long records take at most until they are seen; 0: 120 */
  uint32_t interval_s;    /* between two looks; 0: 5 */
  uint32_t reserved;      /* 0 */

  /* Makes an instance of these settings; no calls to the vendor yet. */
  int (*open)(const proxycore_dns_host* host, void** self, proxycore_dns_error* error);
  void (*close)(void* self);

  /* Whether the credentials are good. Changes nothing. */
  int (*check)(void* self, proxycore_dns_error* error);
  /* Calls `each` for every zone that the credentials reach. */
  int (*zones)(void* self, proxycore_dns_zone_fn each, void* context, proxycore_dns_error* error);
  /* Adds a value beside those that the name has. One that is there already is success. `id` is an
   * empty text; what is left there (ends in 0) is given to remove(). */
  int (*add)(void* self, const proxycore_dns_zone* zone, const proxycore_dns_record* record,
             char id[PROXYCORE_DNS_ID], proxycore_dns_error* error);
  /* Removes that value alone. One that is not there is success. */
  int (*remove)(void* self, const proxycore_dns_zone* zone, const proxycore_dns_record* record,
                proxycore_dns_error* error);
} proxycore_dns_plugin;

/* The one symbol that a plugin exports. `host_abi` is the PROXYCORE_DNS_ABI that the host was built
 * with. NULL: this plugin cannot serve that host. */
typedef const proxycore_dns_plugin* (*proxycore_dns_plugin_fn)(uint32_t host_abi);
#define PROXYCORE_DNS_PLUGIN_SYMBOL "proxycore_dns_plugin_v1"

#ifdef __GNUC__
#define PROXYCORE_DNS_EXPORT __attribute__((visibility("default")))
#else
#define PROXYCORE_DNS_EXPORT
#endif
PROXYCORE_DNS_EXPORT const proxycore_dns_plugin* proxycore_dns_plugin_v1(uint32_t host_abi);

/* NOLINTEND(readability-identifier-naming) */

#ifdef __cplusplus
}
#endif

#endif
