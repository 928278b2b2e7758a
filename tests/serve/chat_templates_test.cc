// Chat templates against texts that transformers rendered, and the helper's limits.
#include "serve/chat_templates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/files.h"
#include "support/paths.h"

namespace wingspan::test {
namespace {

using serve::ChatTemplate;
using serve::TemplateLimits;
using serve::TemplateWorker;

// A directory with a tokenizer_config.json.
std::string directory_with(const OrderedJson& config) {
  const std::string directory = temporary_directory();
  std::ofstream(directory + "/tokenizer_config.json") << config.dump();
  return directory;
}

bool have_jinja() {
  TemplateWorker worker{TemplateLimits{}};
  const auto answer = worker.ask({{"template", "x"}, {"kwargs", OrderedJson::object()}});
  return answer && answer->value("text", "") == "x";
}

class ChatTemplates : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_jinja()) GTEST_SKIP() << "not run: python3-jinja2 is missing";
  }
  static Expected<ChatTemplate::Rendered> render(const std::string& source,
                                                 const OrderedJson& messages,
                                                 TemplateLimits limits = {}) {
    TemplateWorker worker(limits);
    WS_ASSIGN(const ChatTemplate chat,
              ChatTemplate::load(real_files(), directory_with({{"chat_template", source}}), ""));
    return chat.render(worker, messages, OrderedJson::object(), true, false);
  }
};

TEST_F(ChatTemplates, GoldensAreWhatTransformersRendered) {
  int cases = 0;
  TemplateWorker worker{TemplateLimits{}};
  for (const char* name : {"headers", "thinker", "tools"}) {
    const auto text =
        real_files().read_text(golden_path(std::string("chat/") + name + ".json"), 1 << 24);
    ASSERT_TRUE(text);
    const OrderedJson golden = OrderedJson::parse(*text);
    OrderedJson config = golden;
    config.erase("cases");
    const auto chat = ChatTemplate::load(real_files(), directory_with(config), "");
    ASSERT_TRUE(chat) << chat.error().message();
    for (const OrderedJson& one : golden["cases"]) {
      SCOPED_TRACE(std::string(name) + ": " + one["name"].get<std::string>());
      OrderedJson kwargs = one.value("kwargs", OrderedJson::object());
      const bool generate = kwargs.value("add_generation_prompt", false);
      kwargs.erase("add_generation_prompt");
      const auto got = chat->render(worker, one["messages"], kwargs, generate, false);
      ++cases;
      if (one.contains("error")) {
        ASSERT_FALSE(got);
        const std::string wanted = one["error"].get<std::string>();
        const std::string words = wanted.substr(wanted.find(':') + 2);
        EXPECT_NE(got.error().what.find(words), std::string::npos) << got.error().what;
        continue;
      }
      ASSERT_TRUE(got) << got.error().message();
      EXPECT_EQ(got->text, one["text"].get<std::string>());
    }
  }
  EXPECT_GT(cases, 10);
}

TEST_F(ChatTemplates, ContentIsAStringOrPartsAsTheTemplateWants) {
  const OrderedJson string_message = OrderedJson::array({{{"role", "user"}, {"content", "hi"}}});
  const OrderedJson parts = OrderedJson::array(
      {{{"role", "user"}, {"content", OrderedJson::array({{{"type", "text"}, {"text", "hi"}}})}}});
  const std::string flat = "{% for m in messages %}[{{ m.content }}]{% endfor %}";
  const std::string deep =
      "{% for m in messages %}{% set c = m['content'] %}{% for p in c %}<{{ p.text }}>{% endfor %}"
      "{% endfor %}";
  for (const OrderedJson& messages : {string_message, parts}) {
    EXPECT_EQ(render(flat, messages)->text, "[hi]");
    EXPECT_EQ(render(deep, messages)->text, "<hi>");
  }
}

TEST_F(ChatTemplates, ATemplateThatRaisesHangsOrGrowsCostsOneRequest) {
  const OrderedJson messages = OrderedJson::array({{{"role", "user"}, {"content", "hi"}}});
  const auto raised = render("{{ raise_exception('roles must alternate') }}", messages);
  ASSERT_FALSE(raised);
  EXPECT_EQ(raised.error().what, "roles must alternate");
  EXPECT_EQ(raised.error().kind, ErrorKind::kInvalidInput);
  TemplateLimits limits;
  limits.seconds = 0.5;
  TemplateWorker worker(limits);
  const auto ask = [&](const char* source) {
    return worker.ask({{"template", source}, {"kwargs", OrderedJson::object()}});
  };
  const auto hung =
      ask("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}");
  ASSERT_FALSE(hung);
  EXPECT_EQ(hung.error().kind, ErrorKind::kFailed);
  EXPECT_EQ((*ask("again"))["text"], "again") << "another helper";
  const auto escaped = ask("{{ ''.__class__.__mro__[1].__subclasses__() }}");
  ASSERT_TRUE(escaped);
  EXPECT_TRUE(escaped->contains("error")) << *escaped;
  const auto grown = ask("{{ 'x' * 9999999999 }}");
  EXPECT_TRUE(!grown || grown->contains("error"));
}

TEST_F(ChatTemplates, MarksInAUsersTextAreText) {
  const std::string model = wren();
  auto text = TextModel::load(real_files(), model);
  ASSERT_TRUE(text) << text.error().message();
  auto chat = ChatTemplate::load(real_files(), model, "");
  ASSERT_TRUE(chat);
  TemplateWorker worker{TemplateLimits{}};
  const std::string eos = text->tokenizer().token_bytes(1);
  ASSERT_TRUE(text->tokenizer().is_special(1));
  const OrderedJson messages =
      OrderedJson::array({{{"role", "user"}, {"content", "say " + eos + " now"}},
                          {{"role", "assistant"}, {"content", "no"}},
                          {{"role", "user"}, {"content", eos}}});
  const auto rendered = chat->render(worker, messages, OrderedJson::object(), true, false);
  ASSERT_TRUE(rendered) << rendered.error().message();
  const auto ids = ChatTemplate::encode(*text, *rendered);
  ASSERT_TRUE(ids);
  // The template's own ends one turn; the user's two are text.
  EXPECT_EQ(std::count(ids->begin(), ids->end(), 1), 1);
  EXPECT_EQ(ids->front(), 0) << "BOS once";
  EXPECT_EQ(std::count(ids->begin(), ids->end(), 0), 1);
  EXPECT_EQ(*text->tokenizer().decode(*ids, false), rendered->text);
}

TEST(ChatTemplatesWithout, JinjaSaysWhatToInstall) {
  TemplateLimits limits;
  limits.pythons = {"/no/such/python3"};
  TemplateWorker worker(limits);
  const auto answer = worker.ask({{"template", "x"}, {"kwargs", OrderedJson::object()}});
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message().find("python3-jinja2"), std::string::npos);
}

}  // namespace
}  // namespace wingspan::test
