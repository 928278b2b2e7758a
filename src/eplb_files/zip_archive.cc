#include "eplb_files/zip_archive.h"

#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_set>

namespace wingspan {
namespace {

constexpr zip_int64_t kMostRecords = 1 << 20;

std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1U) != 0 ? 0xedb88320U : 0U);
    table[i] = c;
  }
  return table;
}

uint32_t crc32(const std::string& bytes) {
  static const auto table = crc_table();
  uint32_t crc = ~0U;
  for (const char c : bytes) crc = table[(crc ^ static_cast<uint8_t>(c)) & 0xffU] ^ (crc >> 8);
  return ~crc;
}

std::string error_text(zip_error_t& error) {
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

struct ZipArchive::Handle {
  std::string bytes;
  zip_t* zip = nullptr;
  ~Handle() {
    if (zip != nullptr) zip_discard(zip);
  }
};

ZipArchive::ZipArchive() = default;
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;
ZipArchive& ZipArchive::operator=(ZipArchive&&) noexcept = default;
ZipArchive::~ZipArchive() = default;

Expected<ZipArchive> ZipArchive::open(std::string bytes, std::string where) {
  ZipArchive out;
  out.where_ = std::move(where);
  out.handle_ = std::make_unique<Handle>();
  out.handle_->bytes = std::move(bytes);
  const auto bad = [&](const std::string& what) {
    return invalid_input("not a readable zip archive: " + what, out.where_,
                         "it may be truncated; copy it again");
  };
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source =
      zip_source_buffer_create(out.handle_->bytes.data(), out.handle_->bytes.size(), 0, &error);
  if (source == nullptr) return bad(error_text(error));
  out.handle_->zip = zip_open_from_source(source, ZIP_RDONLY, &error);
  if (out.handle_->zip == nullptr) {
    zip_source_free(source);
    return bad(error_text(error));
  }
  const zip_int64_t count = zip_get_num_entries(out.handle_->zip, 0);
  if (count > kMostRecords) return bad(fmt::format("it declares {} entries", count));
  std::unordered_set<std::string> seen;
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(out.handle_->zip, static_cast<zip_uint64_t>(i), 0);
    if (name == nullptr) return bad("an entry without a name");
    if (!seen.insert(name).second) {
      return invalid_input(fmt::format("two records are named {} (duplicate)", name), out.where_,
                           "save the file again with torch.save");
    }
    out.names_.emplace_back(name);
  }
  return out;
}

bool ZipArchive::has(const std::string& name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

Expected<std::string> ZipArchive::read(const std::string& name) const {
  const auto bad = [&](const std::string& what) {
    return invalid_input(fmt::format("record {} {}", name, what), where_,
                         "save the file again with torch.save");
  };
  zip_stat_t info;
  if (zip_stat(handle_->zip, name.c_str(), 0, &info) != 0) return bad("is missing");
  if (info.comp_method != ZIP_CM_STORE || info.encryption_method != ZIP_EM_NONE) {
    return bad("is compressed or encrypted, which torch.save never does");
  }
  if (info.size > handle_->bytes.size() || info.comp_size != info.size) {
    return bad(fmt::format("declares a size of {} bytes in a file of {}: corrupt", info.size,
                           handle_->bytes.size()));
  }
  // Stored bytes read as they are: the CRC is checked here, since 0 is not a mismatch.
  zip_file_t* file = zip_fopen(handle_->zip, name.c_str(), ZIP_FL_COMPRESSED);
  if (file == nullptr) return bad("can't be read: the zip archive is corrupt");
  std::string out(info.size, '\0');
  const zip_int64_t got = zip_fread(file, out.data(), out.size());
  zip_fclose(file);
  if (got < 0 || static_cast<zip_uint64_t>(got) != info.size) {
    return bad("ends early: the zip archive is truncated");
  }
  if (info.crc != 0 && crc32(out) != info.crc) {
    return bad("does not match its CRC-32 checksum: the file is corrupt");
  }
  return out;
}

}  // namespace wingspan
