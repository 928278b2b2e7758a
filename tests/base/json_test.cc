#include "base/json.h"

#include <gtest/gtest.h>

namespace wingspan {
namespace {

std::string error_of(std::string_view text) {
  auto parsed = parse_json(text, "f.json");
  return parsed ? "" : parsed.error().message();
}

TEST(Json, RefusesWhatFilesOfStrangersMayHold) {
  EXPECT_NE(error_of(R"({"a":1,"a":2})").find("duplicate key \"a\""), std::string::npos);
  EXPECT_NE(error_of(std::string(100000, '[')).find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of("[1e999]"), "");
  EXPECT_NE(error_of("{} x"), "");
  EXPECT_NE(error_of("[\"\xff\"]"), "");
  EXPECT_NE(error_of(""), "");
  EXPECT_NE(error_of("[NaN]"), "");
  EXPECT_EQ(error_of(R"({"a":[1,{"b":null}]})"), "");
}

TEST(Json, TypedAccessNamesTheKeyAndTheFile) {
  auto parsed =
      parse_json(R"({"n":3.0,"big":1e18,"neg":-1,"s":"x","u":18446744073709551615})", "f.json");
  ASSERT_TRUE(parsed);
  auto object = JsonObject::from(*parsed, "f.json");
  ASSERT_TRUE(object);
  EXPECT_EQ(object->integer("n", 0, 10).value(), 3);
  EXPECT_FALSE(object->integer("neg", 0, 10));
  EXPECT_FALSE(object->integer("u", 0, INT64_MAX));
  EXPECT_FALSE(object->integer("s", 0, 10));
  EXPECT_EQ(object->integer("missing", 0, 10).error().message(), "\"missing\" is missing (f.json)");
  EXPECT_EQ(object->integer_or("missing", 0, 10, 7).value(), 7);
}

}  // namespace
}  // namespace wingspan
