// The bytes of answers and events.
#include <gtest/gtest.h>

#include "base/json.h"
#include "serve/access.h"
#include "serve/http_answer.h"
#include "serve/responder.h"

namespace wingspan::serve {
namespace {

TEST(HttpAnswer, WhatAHandlerSaysCannotEndALine) {
  HttpResponse response;
  response.status = 400;
  response.reason = "bad\r\nX-Evil: 1\n\xc3\xb6 end";
  response.headers = {{"Retry-After", "1\r\nX-Evil: 2"}, {"Bad Name", "x"}, {"Ok\r\nX", "y"}};
  response.content_type = "text/plain\r\nX-Evil: 3";
  response.body = "b";
  const std::string bytes = answer_bytes(response, "id\r\nX-Evil: 4", {});
  EXPECT_EQ(bytes.find("\nX-Evil"), std::string::npos) << bytes;
  EXPECT_TRUE(bytes.starts_with("HTTP/1.1 400 bad  X-Evil: 1 ?? end\r\n")) << bytes;
  EXPECT_EQ(bytes.find("Bad Name"), std::string::npos);
  EXPECT_TRUE(bytes.ends_with("\r\nContent-Length: 1\r\n\r\nb"));
}

TEST(HttpAnswer, ALongReasonIsCutAndAnEmptyOneIsTheUsual) {
  const std::string bytes = answer_bytes(error_answer(400, std::string(5000, 'x')), "", {});
  EXPECT_LT(bytes.find("\r\n"), 300U);
  EXPECT_EQ(Json::parse(bytes.substr(bytes.find("\r\n\r\n")))["error"]["message"],
            std::string(5000, 'x'));
  HttpResponse plain;
  plain.status = 503;
  EXPECT_TRUE(answer_bytes(plain, "", {}).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
}

TEST(HttpAnswer, ErrorsOfBytesThatAreNotUtf8AreValidJson) {
  const HttpResponse response = error_answer(404, "nothing at /\xff\xfe",
                                             "mo\x80"
                                             "del");
  const Json body = Json::parse(response.body, nullptr, false);
  ASSERT_TRUE(body.is_object()) << response.body;
  EXPECT_TRUE(body["error"]["param"].is_string());
  EXPECT_EQ(body["error"]["type"], "not_found_error");
  EXPECT_TRUE(Json::parse(error_answer(400, "x").body)["error"]["param"].is_null());
  EXPECT_EQ(Json::parse(error_event(500, "x", "own_type"))["error"]["type"], "own_type");
}

TEST(HttpAnswer, AnEventIsOneLine) {
  std::string out;
  append_events(out, {"a\nb\r\nc", "", "d"}, false);
  EXPECT_EQ(out, "data: a b  c\n\ndata: \n\ndata: d\n\n");
  out.clear();
  append_events(out, {"ab", "c"}, true);
  EXPECT_EQ(out, "13\r\ndata: ab\n\ndata: c\n\n\r\n");
  append_events(out, {}, true);
  append_stream_end(out, true);
  EXPECT_TRUE(out.ends_with("\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"));
}

TEST(Access, ComparesWholeKeys) {
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  for (const char* other : {"", "ab", "abcd", "abd", "bbc", "abcabc"}) {
    EXPECT_FALSE(equal_in_constant_time(other, "abc")) << other;
  }
  EXPECT_FALSE(equal_in_constant_time("abc", ""));
  EXPECT_TRUE(authorized(std::nullopt, {}));
  EXPECT_FALSE(authorized(std::nullopt, {"k"}));
  EXPECT_TRUE(authorized("Bearer k", {"other", "k"}));
}

// What a connection sees of an answer, without a connection.
struct Watched {
  explicit Watched(size_t max_bytes, const AnswerFraming& framing = {})
      : exchange(std::make_shared<Exchange>("id", framing, max_bytes, [this](const auto&) {
          ++calls;
          return open;
        })) {}
  int calls = 0;
  bool open = true;
  std::shared_ptr<Exchange> exchange;
};

TEST(Exchange, AnnouncesOnceUntilTaken) {
  Watched w(1000);
  w.exchange->begin_stream();
  EXPECT_EQ(w.calls, 0);
  w.exchange->events({"1"});
  w.exchange->events({"2"});
  EXPECT_EQ(w.calls, 1);
  const Exchange::Output first = w.exchange->take();
  EXPECT_NE(first.bytes.find("data: 1\n\n"), std::string::npos);
  EXPECT_NE(first.bytes.find("data: 2\n\n"), std::string::npos);
  EXPECT_FALSE(first.complete);
  w.exchange->end_stream();
  EXPECT_EQ(w.calls, 2);
  const Exchange::Output last = w.exchange->take();
  EXPECT_TRUE(last.complete);
  EXPECT_FALSE(last.close);
  EXPECT_EQ(last.bytes, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
}

TEST(Exchange, BoundsWhatWaitsHereAndInTheConnection) {
  Watched w(2000);
  w.exchange->begin_stream();
  const std::string event(500, 'x');
  w.exchange->events({event});
  const size_t taken = w.exchange->take().bytes.size();
  w.exchange->events({event});
  EXPECT_FALSE(w.exchange->take().overflow);
  w.exchange->written(taken);
  for (int i = 0; i < 2; ++i) w.exchange->events({event});
  EXPECT_FALSE(w.exchange->take().overflow);
  w.exchange->events({event});
  EXPECT_TRUE(w.exchange->take().overflow);
  w.exchange->events({event});
  EXPECT_EQ(w.exchange->take().bytes, "") << "nothing more is kept";
  int gone = 0;
  w.exchange->on_gone([&] { ++gone; });
  w.exchange->client_gone();
  w.exchange->client_gone();
  EXPECT_EQ(gone, 1);
}

TEST(Exchange, OneAnswerOnly) {
  Watched w(1000);
  w.exchange->reply({});
  w.exchange->reply(error_answer(500, "late"));
  w.exchange->begin_stream();
  w.exchange->events({"late"});
  w.exchange->end_stream();
  w.exchange->abandoned();
  const Exchange::Output output = w.exchange->take();
  EXPECT_EQ(output.status, 200);
  EXPECT_EQ(output.bytes.find("late"), std::string::npos);
  int gone = 0;
  w.exchange->on_gone([&] { ++gone; });
  w.exchange->client_gone();
  w.exchange->late_gone();
  EXPECT_EQ(gone, 0);
}

TEST(Exchange, ACallbackThatComesLateIsCalledByTheServer) {
  Watched w(1000);
  w.exchange->client_gone();
  int gone = 0;
  w.exchange->on_gone([&] { ++gone; });
  EXPECT_EQ(gone, 0);
  EXPECT_EQ(w.calls, 1);
  w.exchange->late_gone();
  w.exchange->late_gone();
  EXPECT_EQ(gone, 1);
  w.exchange->on_gone([&] { ++gone; });
  w.exchange->late_gone();
  EXPECT_EQ(gone, 1);
}

// A handler's state owns the Responder and the callback owns the state: the circle must end.
TEST(Exchange, LetsTheCallbackGoWithTheAnswer) {
  for (const bool gone : {true, false}) {
    Watched w(1000);
    const auto state = std::make_shared<int>(0);
    w.exchange->on_gone([state] {});
    EXPECT_EQ(state.use_count(), 2);
    if (gone) {
      w.exchange->client_gone();
    } else {
      w.exchange->reply({});
    }
    EXPECT_EQ(state.use_count(), 1);
  }
  Watched closed(1000);
  closed.open = false;
  closed.exchange->client_gone();
  const auto state = std::make_shared<int>(0);
  closed.exchange->on_gone([state] {});
  EXPECT_EQ(state.use_count(), 1);
}

}  // namespace
}  // namespace wingspan::serve
