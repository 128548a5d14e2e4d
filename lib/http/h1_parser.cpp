#include "http/h1_parser.h"

#include "base/text.h"

#include <algorithm>

namespace proxycore::http {

namespace {

// A chunk's size and extensions (RFC 9112 §7.1.1), with the CRLF of the chunk before.
constexpr std::size_t max_chunk_line = 256;

}  // namespace

struct H1Parser::Callbacks {
  static H1Parser& of(llhttp_t* machine) { return *static_cast<H1Parser*>(machine->data); }

  static int on_name(llhttp_t* machine, const char* at, std::size_t size) {
    of(machine).name_.extend({at, size});
    return HPE_OK;
  }

  static int on_value(llhttp_t* machine, const char* at, std::size_t size) {
    of(machine).value_.extend({at, size});
    return HPE_OK;
  }

  static int on_value_complete(llhttp_t* machine) {
    H1Parser& self = of(machine);
    self.fields_->add(self.name_.view, base::trim(self.value_.view));
    self.name_.clear();
    self.value_.clear();
    if (++self.count_ <= self.limits_->header_count) return HPE_OK;
    self.refuse({Errc::limit, 431, "too many header fields"});
    return HPE_USER;
  }

  static int on_headers_complete(llhttp_t* machine) { return of(machine).pause(Step::fields); }

  static int on_chunk_header(llhttp_t* machine) {
    H1Parser& self = of(machine);
    self.chunk_left_ = machine->content_length;
    if (self.chunk_left_ > self.content_left_) {
      self.refuse({Errc::limit, 413, "chunked content is over the limit"});
      return HPE_USER;
    }
    self.content_left_ -= self.chunk_left_;
    if (self.chunk_left_ == 0) {
      self.section_ = Section::trailers;
      self.fields_ = &self.trailers;
      self.count_ = 0;
    }
    return self.pause(Step::more);
  }

  static int on_body(llhttp_t* machine, const char* at, std::size_t size) {
    H1Parser& self = of(machine);
    if (size == 0) return HPE_OK;
    self.body_ = Bytes(at, size, self.body_.slab);
    return self.pause(Step::body);
  }

  static int on_message_complete(llhttp_t* machine) { return of(machine).pause(Step::end); }

  static llhttp_settings_t settings() {
    llhttp_settings_t all;
    llhttp_settings_init(&all);
    all.on_header_field = on_name;
    all.on_header_value = on_value;
    all.on_header_value_complete = on_value_complete;
    all.on_headers_complete = on_headers_complete;
    all.on_chunk_header = on_chunk_header;
    all.on_body = on_body;
    all.on_message_complete = on_message_complete;
    return all;
  }

  // A machine that has just read a request line. As a request it is stricter about
  // Transfer-Encoding, so responses are read by it too.
  static llhttp_t behind_start_line() {
    static const llhttp_settings_t all = settings();
    static constexpr std::string_view line = "POST / HTTP/1.1\r\n";
    llhttp_t machine;
    llhttp_init(&machine, HTTP_REQUEST, &all);
    llhttp_execute(&machine, line.data(), line.size());
    return machine;
  }
};

void H1Parser::begin() {
  line.clear();
  head.clear();
  trailers.clear();
}

void H1Parser::begin_fields(const Limits& limits, std::size_t line_size) {
  static const llhttp_t fresh = Callbacks::behind_start_line();
  machine_ = fresh;
  machine_.data = this;
  limits_ = &limits;
  section_ = Section::fields;
  fields_ = &head.fields;
  chunk_left_ = 0;
  budget_ = limits.header_size - std::min<std::size_t>(limits.header_size, line_size);
  count_ = 0;
  name_.clear();
  value_.clear();
}

void H1Parser::begin_chunks(std::uint64_t content) {
  section_ = Section::chunks;
  content_left_ = content;
  budget_ = max_chunk_line;
}

H1Parser::Step H1Parser::run(Bytes& in) {
  while (!in.empty()) {
    const Section before = section_;
    const bool in_chunk = chunk_left_ > 0;
    const std::size_t size = in_chunk ? in.size : std::min(in.size, budget_);
    if (size == 0) {
      if (section_ == Section::chunks) {
        return refuse({Errc::protocol, 400, "chunk size line is too long (RFC 9112 §7.1.1)"});
      }
      return refuse({Errc::limit, 431, "header section is too large"});
    }
    found_ = Step::more;
    body_ = Bytes(in.data, 0, in.slab);
    const llhttp_errno_t outcome = llhttp_execute(&machine_, in.data, size);
    const char* end = outcome == HPE_OK ? in.data + size : llhttp_get_error_pos(&machine_);
    const auto used = static_cast<std::size_t>(end - in.data);
    in = in.from(used);
    if (found_ == Step::fault) return Step::fault;
    if (outcome == HPE_PAUSED) {
      llhttp_resume(&machine_);
    } else if (outcome != HPE_OK) {
      return refuse({Errc::protocol, 400, llhttp_get_error_reason(&machine_)});
    }
    if (section_ != before) {
      budget_ = limits_->header_size;
    } else if (!in_chunk) {
      budget_ -= used;
    } else {
      chunk_left_ -= body_.size;
      if (chunk_left_ == 0) budget_ = max_chunk_line;
    }
    if (found_ != Step::more) return found_;
  }
  name_.keep();
  value_.keep();
  return Step::more;
}

void H1Parser::Text::extend(std::string_view piece) {
  if (view.empty()) {
    view = piece;
    return;
  }
  keep();
  view = copy.append(piece);
}

void H1Parser::Text::keep() {
  if (view.empty() || view.data() == copy.data()) return;
  view = copy.assign(view);
}

H1Parser::Step H1Parser::refuse(const Reset& why) noexcept {
  fault_ = why;
  found_ = Step::fault;
  return Step::fault;
}

int H1Parser::pause(Step step) noexcept {
  found_ = step;
  return HPE_PAUSED;
}

}  // namespace proxycore::http
