// One request and one answer: routes, errors, keys, limits.
#include <gtest/gtest.h>

#include "serve/access.h"
#include "serve/test_server.h"

namespace wingspan::serve {
namespace {

using test::get;
using test::post;
using test::RawClient;
using test::TestServer;

// The error object of an answer, checked for its form.
Json error_of(const test::RawAnswer& answer) {
  EXPECT_EQ(answer.header("content-type"), "application/json");
  const Json body = Json::parse(answer.body, nullptr, false);
  EXPECT_TRUE(body.is_object() && body.size() == 1 && body.contains("error")) << answer.body;
  const Json error = body.value("error", Json::object());
  for (const char* key : {"message", "type", "param", "code"}) EXPECT_TRUE(error.contains(key));
  EXPECT_EQ(error.size(), 4U);
  EXPECT_EQ(error.value("code", 0), answer.status);
  // Benches keep only the reason phrase.
  EXPECT_EQ(answer.reason, error.value("message", ""));
  return error;
}

test::RawAnswer ask(const TestServer& server, const std::string& bytes) {
  RawClient client = server.client();
  EXPECT_TRUE(client.send(bytes));
  const auto answer = client.answer();
  EXPECT_TRUE(answer) << bytes.substr(0, 200);
  return answer.value_or(test::RawAnswer{});
}

TEST(HttpServer, AnswersARequestAndKeepsTheConnection) {
  const TestServer server;
  RawClient client = server.client();
  for (int i = 0; i < 3; ++i) {
    const std::string body = std::string(static_cast<size_t>(i) * 70000, 'x') + "end";
    ASSERT_TRUE(client.send(post("/echo", body)));
    const auto answer = client.answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->reason, "OK");
    EXPECT_EQ(answer->body, body);
    EXPECT_EQ(answer->header("connection"), "");
  }
}

TEST(HttpServer, PortIsReadableAndATakenOneIsAnError) {
  const TestServer server;
  EXPECT_GT(server.server->port(), 0);
  HttpOptions options;
  options.port = server.server->port();
  const auto second = HttpServer::start(options, {}, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::kIo);
  EXPECT_NE(second.error().message().find("--port"), std::string::npos);
  options.host = "no such host";
  ASSERT_FALSE(HttpServer::start(options, {}, {}));
  options.host = "127.0.0.1";
  options.port = 70000;
  ASSERT_FALSE(HttpServer::start(options, {}, {}));
}

TEST(HttpServer, ErrorsHaveOneFormAndAReasonThatSaysSomething) {
  const TestServer server;
  const test::RawAnswer missing = ask(server, get("/no/such"));
  EXPECT_EQ(missing.status, 404);
  EXPECT_NE(error_of(missing)["message"].get<std::string>().find("/no/such"), std::string::npos);

  const test::RawAnswer method = ask(server, get("/echo"));
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.header("allow"), "OPTIONS, POST");
  EXPECT_NE(error_of(method)["message"].get<std::string>().find("GET"), std::string::npos);

  const test::RawAnswer no_length = ask(server, "POST /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(no_length.status, 411);
  error_of(no_length);

  const test::RawAnswer broke = ask(server, post("/throw", "{}"));
  EXPECT_EQ(broke.status, 500);
  EXPECT_NE(error_of(broke)["message"].get<std::string>().find("the handler broke"),
            std::string::npos);

  const test::RawAnswer forgot = ask(server, post("/forget", "{}"));
  EXPECT_EQ(forgot.status, 500);
  error_of(forgot);
}

TEST(HttpServer, AConnectionLivesOnAfterARefusal) {
  const TestServer server;
  RawClient client = server.client();
  // The refused bodies are skipped, whether they come with the header or later.
  ASSERT_TRUE(client.send(post("/no/such", "12345") + get("/nothing")));
  ASSERT_EQ(client.answer().value_or(test::RawAnswer{}).status, 404);
  ASSERT_EQ(client.answer().value_or(test::RawAnswer{}).status, 404);
  ASSERT_TRUE(client.send("POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nGET /"));
  ASSERT_EQ(client.answer().value_or(test::RawAnswer{}).status, 404);
  ASSERT_TRUE(client.send("67890" + post("/echo", "still here")));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).body, "still here");
}

TEST(HttpServer, HeadAndOptions) {
  const TestServer server;
  RawClient client = server.client();
  ASSERT_TRUE(client.send("HEAD /live HTTP/1.1\r\nHost: h\r\n\r\n"));
  auto answer = client.answer(5, true);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_NE(answer->header("content-length"), "0");
  ASSERT_TRUE(client.send("OPTIONS /live HTTP/1.1\r\nHost: h\r\n\r\n"));
  answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 204);
  EXPECT_EQ(answer->header("allow"), "GET, HEAD, OPTIONS");
  ASSERT_TRUE(client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 204);
  ASSERT_TRUE(client.send("OPTIONS /no HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 404);
}

TEST(HttpServer, Http10ClosesUnlessItAsksToStay) {
  const TestServer server;
  RawClient client = server.client();
  ASSERT_TRUE(client.send("GET /live HTTP/1.0\r\n\r\n"));
  const auto bytes = client.read_to_end();
  ASSERT_TRUE(bytes);
  EXPECT_TRUE(bytes->starts_with("HTTP/1.1 200 OK\r\n")) << *bytes;
  EXPECT_NE(bytes->find("Connection: close\r\n"), std::string::npos);

  RawClient stays = server.client();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stays.send("GET /live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    const auto answer = stays.answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header("connection"), "keep-alive");
  }
  ASSERT_TRUE(stays.send(get("/live", "Connection: close\r\n")));
  EXPECT_EQ(stays.answer().value_or(test::RawAnswer{}).header("connection"), "close");
  EXPECT_TRUE(stays.ended());
}

TEST(HttpServer, KeysAreNeededWhereTheyAreSet) {
  HttpOptions options;
  options.api_keys = {"first-key", "second-key"};
  const TestServer server(options);
  const auto status = [&](const std::string& header) {
    return ask(server, get("/key", header)).status;
  };
  EXPECT_EQ(status("Authorization: Bearer first-key\r\n"), 200);
  EXPECT_EQ(status("authorization: bearer  second-key\r\n"), 200);
  for (const char* wrong :
       {"", "Authorization: Bearer \r\n", "Authorization: Bearer\r\n", "Authorization: \r\n",
        "Authorization: Bearer first-ke\r\n", "Authorization: Bearer first-keyy\r\n",
        "Authorization: Bearer first-kez\r\n", "Authorization: first-key\r\n",
        "Authorization: Basic first-key\r\n", "Authorization: Bearer first-key,second-key\r\n"}) {
    const test::RawAnswer answer = ask(server, get("/key", wrong));
    EXPECT_EQ(answer.status, 401) << wrong;
    EXPECT_EQ(answer.header("www-authenticate"), "Bearer");
    EXPECT_EQ(error_of(answer)["type"], "authentication_error");
  }
  EXPECT_EQ(ask(server, get("/health")).status, 200);
  EXPECT_EQ(ask(server, get("/live")).status, 200);
}

TEST(HttpServer, WithoutKeysAnyAuthorizationWillDo) {
  const TestServer server;
  for (const char* header : {"", "Authorization: Bearer \r\n", "Authorization: Bearer x\r\n"}) {
    EXPECT_EQ(ask(server, get("/key", header)).status, 200);
  }
}

TEST(HttpServer, RequestIdsAreTakenEchoedAndLogged) {
  TestServer server;
  EXPECT_EQ(ask(server, get("/key?secret=1", "X-Request-Id: abc-1.2_3\r\n")).header("x-request-id"),
            "abc-1.2_3");
  EXPECT_EQ(ask(server, get("/no", "x-request-id: mine\r\n")).header("x-request-id"), "mine");
  const std::string own =
      ask(server, get("/key", "X-Request-Id: bad\"id\r\n")).header("x-request-id");
  EXPECT_TRUE(own.starts_with("req-")) << own;
  const std::string other =
      ask(server, get("/key", "X-Request-Id: " + std::string(200, 'a') + "\r\n"))
          .header("x-request-id");
  EXPECT_TRUE(other.starts_with("req-"));
  EXPECT_NE(own, other);
  const auto log = server.log(4);
  ASSERT_EQ(log.size(), 4U);
  EXPECT_EQ(log[0].request_id, "abc-1.2_3");
  EXPECT_EQ(log[0].status, 200);
  EXPECT_TRUE(log[0].complete);
  EXPECT_EQ(log[0].client, "127.0.0.1");
  EXPECT_GT(log[0].sent_bytes, 0);
  const std::string line = access_line(log[0]);
  EXPECT_TRUE(line.starts_with("GET /key 200 ")) << line;
  EXPECT_EQ(line.find("secret"), std::string::npos) << "a query may hold what nobody may read";
  EXPECT_EQ(log[1].status, 404);
}

TEST(HttpServer, TheQueryAndTheDecodedPathReachTheHandler) {
  const TestServer server;
  EXPECT_EQ(ask(server, get("/key?a=%20b?c")).body, R"({"query":"a=%20b?c"})");
  EXPECT_EQ(ask(server, get("/deep/a%2Fb/c%20d")).body, "/deep/a/b/c d");
  EXPECT_EQ(ask(server, get("http://other:8000/key")).status, 200);
  EXPECT_EQ(ask(server, get("/%6bey")).status, 200);
}

TEST(HttpServer, NoPathLeadsAnywhereElse) {
  const TestServer server;
  for (const char* path :
       {"/../etc/passwd", "/key/../key", "//key", "/key/", "/%2e%2e/key", "/key%00", "/./key",
        "/key%2f", "/KEY", "/deep/", "/deep", "http://h/..//key", "/%2Fkey", "/key;x", "/\x80"}) {
    EXPECT_EQ(ask(server, get(path)).status, 404) << path;
  }
  for (const char* path : {"key", "*", "ftp://h/key", "h:80", "/%zz", "/%1", "/%"}) {
    EXPECT_EQ(ask(server, get(path)).status, 400) << path;
  }
}

TEST(HttpServer, ExpectContinueIsAnsweredAfterTheChecks) {
  HttpOptions options;
  options.reader.body_bytes = 1000;
  TestServer server(options);
  RawClient client = server.client();
  ASSERT_TRUE(client.send(
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 100);
  ASSERT_TRUE(client.send("body"));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).body, "body");

  const auto refused = [&](const std::string& path, const std::string& headers) {
    return ask(server, "POST " + path + " HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n" +
                           headers + "\r\n")
        .status;
  };
  EXPECT_EQ(refused("/echo", "Content-Length: 1001\r\n"), 413);
  EXPECT_EQ(refused("/no", "Content-Length: 10\r\n"), 404);
  server.busy = true;
  EXPECT_EQ(refused("/hold", "Content-Length: 10\r\n"), 429);
  EXPECT_EQ(ask(server, "GET /live HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n").status, 417);
}

TEST(HttpServer, LimitsOfHeaderTargetAndBody) {
  HttpOptions options;
  options.reader.header_bytes = 4096;
  options.reader.target_bytes = 512;
  options.reader.body_bytes = 1000;
  const TestServer server(options);
  EXPECT_EQ(ask(server, get("/key", "X: " + std::string(5000, 'x') + "\r\n")).status, 431);
  EXPECT_EQ(ask(server, get("/" + std::string(600, 'x'))).status, 414);
  EXPECT_EQ(ask(server, "GET /" + std::string(5000, 'x')).status, 414);
  EXPECT_EQ(ask(server, post("/echo", std::string(1001, 'x'))).status, 413);
  EXPECT_EQ(ask(server, post("/echo", std::string(1000, 'x'))).status, 200);
  EXPECT_EQ(ask(server,
                "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3e8\r\n" +
                    std::string(1000, 'x') + "\r\n1\r\nx\r\n0\r\n\r\n")
                .status,
            413);
  const test::RawAnswer chunked =
      ask(server,
          "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
          "3;name=value\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(chunked.status, 200);
  EXPECT_EQ(chunked.body, "abc0123456789");
}

TEST(HttpServer, ALongBodyThatIsRefusedDoesNotHideTheAnswer) {
  HttpOptions options;
  options.reader.body_bytes = 1000;
  const TestServer server(options);
  for (int i = 0; i < 5; ++i) {
    RawClient client = server.client();
    // The client writes all of it before it reads, as many do.
    ASSERT_TRUE(client.send(post("/echo", std::string(4 << 20, 'x'))));
    const auto answer = client.answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 413);
    EXPECT_EQ(answer->header("connection"), "close");
    EXPECT_TRUE(client.ended());
    EXPECT_FALSE(client.was_reset());
  }
}

TEST(HttpServer, OverloadIsToldBeforeTheBodyComes) {
  TestServer server;
  server.busy = true;
  RawClient client = server.client();
  ASSERT_TRUE(client.send("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n"));
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 429);
  const int wait = std::stoi(answer->header("retry-after"));
  EXPECT_GE(wait, 1);
  EXPECT_LE(wait, 120);
  EXPECT_EQ(error_of(*answer)["type"], "rate_limit_error");
  // Others go on, and so does the route when it isn't busy any more.
  EXPECT_EQ(ask(server, post("/echo", "x")).status, 200);
  server.busy = false;
  RawClient later = server.client();
  ASSERT_TRUE(later.send(post("/hold", "x")));
  const auto held = server.take();
  ASSERT_TRUE(held);
  held->responder->reply({});
  EXPECT_EQ(later.answer().value_or(test::RawAnswer{}).status, 200);
}

TEST(HttpServer, BodiesOfAllRequestsHaveABound) {
  HttpOptions options;
  options.max_bodies_bytes = 300'000;
  TestServer server(options);
  std::vector<RawClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(server.client());
    ASSERT_TRUE(
        clients.back().send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 200001\r\n\r\n" +
                            std::string(200'000, 'x')));
  }
  // Two of them exceed the bound together; whoever exceeds it is refused and frees its part.
  const auto held = [&] { return server.server->counters().bodies_bytes; };
  EXPECT_TRUE(server.eventually([&] { return held() == 200'000; })) << held();
  int refused = 0, served = 0;
  for (RawClient& client : clients) {
    client.send("y");
    const auto answer = client.answer();
    refused += answer && answer->status == 429;
    served += answer && answer->status == 200;
  }
  EXPECT_EQ(refused, 3);
  EXPECT_EQ(served, 1);
  EXPECT_TRUE(server.eventually([&] { return held() == 0; })) << held();
}

TEST(HttpServer, ClientsHaveARate) {
  HttpOptions options;
  options.requests_per_s = 2;
  const TestServer server(options);
  RawClient client = server.client();
  int refused = 0;
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(client.send(get("/key")));
    const auto answer = client.answer();
    ASSERT_TRUE(answer);
    if (answer->status == 429) {
      ++refused;
      EXPECT_EQ(answer->header("retry-after"), "1");
    }
    ASSERT_TRUE(client.send(get("/live")));
    EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 200);
  }
  EXPECT_GE(refused, 2);
}

TEST(RateLimiter, FillsAgainAndForgets) {
  RateLimiter limiter(2, 8);
  int64_t now_ns = 0;
  EXPECT_EQ(limiter.take("a", now_ns), 0);
  EXPECT_EQ(limiter.take("a", now_ns), 0);
  EXPECT_DOUBLE_EQ(limiter.take("a", now_ns), 0.5);
  EXPECT_EQ(limiter.take("b", now_ns), 0);
  now_ns += 500'000'000;
  EXPECT_EQ(limiter.take("a", now_ns), 0);
  EXPECT_GT(limiter.take("a", now_ns), 0);
  for (int i = 0; i < 1000; ++i) {
    limiter.take("client " + std::to_string(i), now_ns);
    EXPECT_LE(limiter.clients(), 8U);
  }
  RateLimiter off(0);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(off.take("a", 0), 0);
  EXPECT_EQ(off.clients(), 0U);
}

}  // namespace
}  // namespace wingspan::serve
