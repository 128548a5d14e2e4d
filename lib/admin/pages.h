// The manager's web pages, which are part of the program: what stands at which address, and how a
// browser gets it.
//
// One document, the shell, is what every address of a page shows; its scripts then show the page
// and ask the API for what is in it. So nothing here knows users or hosts, and everybody may read
// it. Not here: the fields that all answers of the manager carry (service). The files are in
// pages/; embed_pages.py makes embedded_pages() of them when it is built. Thread: any.
#pragma once

#include <proxycore/handler.h>

#include <span>
#include <string_view>

namespace proxycore::admin {

struct Page {
  std::string_view path;  // "/assets/app.js"; "/" is the shell
  std::string_view type;  // "text/css; charset=utf-8"
  std::string_view etag;  // weak (RFC 9110 §8.8.3), quotes included
  std::string_view plain;
  std::string_view gzip;  // the same, compressed
};

std::span<const Page> embedded_pages() noexcept;

// `path`: of a request, without its query, as received. nullptr: no page has this address.
const Page* page_for(std::string_view path) noexcept;

// 200 or 304 to a GET or HEAD; 405 to anything else.
Response page_response(const Page& page, const Request& request);

}  // namespace proxycore::admin
