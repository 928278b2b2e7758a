#pragma once
#include <cstring>
#include "tensor/safetensors.h"
namespace wingspan::test {
class Golden { public: explicit Golden(const std::string& p) : f_(*SafetensorsFile::open(real_files(), p)) {}
 bool has(const std::string& n) const { return f_.tensors().count(n); }
 template <class T> std::vector<T> get(const std::string& n) const { auto& i = f_.tensors().at(n); std::vector<T> v(i.bytes / sizeof(T)); (void)f_.read(i, std::as_writable_bytes(std::span(v))); return v; }
 std::vector<float> floats(const std::string& n) const { return get<float>(n); } std::vector<int32_t> ints(const std::string& n) const { return get<int32_t>(n); }
 private: SafetensorsFile f_; }; }
