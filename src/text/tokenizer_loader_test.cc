#include <functional>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_testing.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::json;

// All bytes, by value, then "ab" (256), "abc" (257) and the special <s> (258) and </s> (259).
Json Small() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[BytesToSpelled(std::string(1, static_cast<char>(byte)))] = byte;
  }
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  Json added = Json::array();
  for (const char* name : {"<s>", "</s>"}) {
    added.push_back({{"id", 258 + added.size()}, {"content", name}, {"special", true}});
  }
  return {{"added_tokens", added},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}}};
}

Tokenizer Load(const Json& json, const std::string& config = "",
               const std::string& generation = "") {
  return Tokenizer::FromJson(json.dump(), config, "here", generation);
}

// What loading says after `change`.
std::string MessageAfter(const std::function<void(Json&)>& change) {
  Json json = Small();
  change(json);
  return MessageOf([&] { Load(json); });
}

TEST(TokenizerLoader, LoadsTheLeast) {
  const Tokenizer tokenizer = Load(Small());
  EXPECT_THAT(tokenizer.Encode("abc<s>ba"), ElementsAre(257, 258, 'b', 'a'));
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_THAT(MessageOf([&] { tokenizer.Encode("a", {.add_bos = true}); }),
              HasSubstr("no beginning-of-sequence"));
}

TEST(TokenizerLoader, MergesAsPairs) {
  Json json = Small();
  json["model"]["merges"] = Json::parse(R"([["a", "b"], ["ab", "c"]])");
  EXPECT_THAT(Load(json).Encode("abc"), ElementsAre(257));
}

TEST(TokenizerLoader, OrderOfKeysDoesNotMatter) {
  const std::string merges_first =
      R"({"model":{"merges":["a b","ab c"],"vocab":)" + Small()["model"]["vocab"].dump() + "},";
  Json rest = Small();
  rest.erase("model");
  const Tokenizer tokenizer = Tokenizer::FromJson(merges_first + rest.dump().substr(1), "", "x");
  EXPECT_THAT(tokenizer.Encode("abc"), ElementsAre(257));
}

TEST(TokenizerLoader, BeginningFromTheTemplate) {
  Json json = Small();
  json["post_processor"] = Json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
       "special_tokens": {"<s>": {"id": "<s>", "ids": [258], "tokens": ["<s>"]}}}]})");
  EXPECT_THAT(Load(json).Encode("ab"), ElementsAre(258, 256));
  EXPECT_THAT(Load(json).Encode("ab", {.add_bos = false}), ElementsAre(256));
  EXPECT_THAT(Load(json, R"({"add_bos_token": false})").Encode("ab"), ElementsAre(256));
  Json& parts = json["post_processor"]["processors"][1]["single"];
  std::swap(parts[0], parts[1]);
  EXPECT_THAT(MessageOf([&] { Load(json); }), HasSubstr("adds '<s>' after the text"));
}

TEST(TokenizerLoader, BeginningAndEndFromTheConfigs) {
  const char* config = R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
      "add_bos_token": true, "chat_template": "{{ x }}"})";
  const Tokenizer tokenizer = Load(Small(), config, R"({"eos_token_id": [257, 259]})");
  EXPECT_THAT(tokenizer.Encode("ab"), ElementsAre(258, 256));
  EXPECT_EQ(tokenizer.bos_id(), 258);
  EXPECT_THAT(tokenizer.eos_ids(), ElementsAre(257, 259));
  EXPECT_EQ(tokenizer.chat_template(), "{{ x }}");
  EXPECT_THAT(Load(Small(), "", R"({"eos_token_id": 5})").eos_ids(), ElementsAre(5));
  EXPECT_EQ(Load(Small(), R"({"chat_template": [{"name": "tool", "template": "t"},
      {"name": "default", "template": "d"}]})")
                .chat_template(),
            "d");
}

TEST(TokenizerLoader, ConfigErrorsNameFileAndField) {
  EXPECT_THAT(MessageOf([] { Load(Small(), R"({"bos_token": "<x>"})"); }),
              HasSubstr("here: tokenizer_config.json: bos_token is '<x>'"));
  EXPECT_THAT(MessageOf([] { Load(Small(), R"({"add_bos_token": true})"); }),
              HasSubstr("without a bos_token"));
  EXPECT_THAT(MessageOf([] { Load(Small(), "[]"); }), HasSubstr("must be an object"));
  EXPECT_THAT(
      MessageOf([] { Load(Small(), "", R"({"eos_token_id": -1})"); }),
      HasSubstr(
          "generation_config.json: at eos_token_id: this must be an integer that is not negative"));
  EXPECT_THAT(MessageOf([] { Load(Small(), "", R"({"eos_token_id": "x"})"); }),
              HasSubstr("at eos_token_id: this must be an integer"));
}

TEST(TokenizerLoader, NormalizesToNfcAroundAddedTokens) {
  Json json = Small();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  json["added_tokens"].push_back({{"id", 260}, {"content", "e\u0301"}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", 261}, {"content", "a\u0301"}, {"normalized", false}});
  const Tokenizer tokenizer = Load(json);
  EXPECT_THAT(tokenizer.Encode("o\u0301"), ElementsAre(0xC3, 0xB3));
  EXPECT_THAT(tokenizer.Encode("e\u0301é"), ElementsAre(260, 260));
  EXPECT_THAT(tokenizer.Encode("a\u0301á"), ElementsAre(261, 0xC3, 0xA1));
}

// A vocabulary that is spelled as text: <unk> (0), ▁ (1), a (2), ▁a (3), ▁▁ (4), then the special
// <s> (5), and the bytes from 6 on if there are any.
Json SpelledAsText(bool bytes) {
  Json vocab = {{"<unk>", 0}, {"▁", 1}, {"a", 2}, {"▁a", 3}, {"▁▁", 4}, {"<s>", 5}};
  for (int byte = 0; bytes && byte < 256; ++byte) {
    vocab[fmt::format("<0x{:02X}>", byte)] = 6 + byte;
  }
  return Json::parse(R"({
      "added_tokens": [{"id": 0, "content": "<unk>", "special": true},
                       {"id": 5, "content": "<s>", "special": true}],
      "normalizer": {"type": "Sequence", "normalizers": [
          {"type": "Prepend", "prepend": "▁"},
          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
      "decoder": {"type": "Sequence", "decoders": [
          {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
          {"type": "ByteFallback"}, {"type": "Fuse"},
          {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
      "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true,
                "merges": ["▁ a", "▁ ▁"], "byte_fallback": )" +
                     std::string(bytes ? "true" : "false") + R"(, "vocab": )" + vocab.dump() +
                     "}}");
}

TEST(TokenizerLoader, VocabulariesSpelledAsText) {
  const Tokenizer tokenizer = Load(SpelledAsText(true));
  EXPECT_THAT(tokenizer.Encode("a a"), ElementsAre(3, 3));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(" a")), " a");
  EXPECT_THAT(tokenizer.Encode("a<s>a"), ElementsAre(3, 5, 3));
  EXPECT_THAT(tokenizer.Encode("é\xff"), ElementsAre(1, 6 + 0xC3, 6 + 0xA9, 6 + 0xFF));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("é\xff")), "é\xff");
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("")), "");
}

TEST(TokenizerLoader, TextWithoutATokenIsUnknownOrAnError) {
  Json json = SpelledAsText(false);
  EXPECT_THAT(Load(json).Encode("éia"), ElementsAre(1, 0, 2));
  json["model"]["fuse_unk"] = false;
  EXPECT_THAT(Load(json).Encode("éia"), ElementsAre(1, 0, 0, 2));
  json["model"].erase("unk_token");
  const Tokenizer tokenizer = Load(json);
  EXPECT_THAT(tokenizer.Encode("a a"), ElementsAre(3, 3));
  EXPECT_THAT(MessageOf([&] { tokenizer.Encode("é"); }), HasSubstr("é"));
}

TEST(TokenizerLoader, MetaspaceInPlaceOfTheNormalizer) {
  Json json = SpelledAsText(true);
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"split", false}};
  json["pre_tokenizer"]["prepend_scheme"] = "first";
  EXPECT_THAT(Load(json).Encode("a a<s>a"), ElementsAre(3, 3, 5, 2));
  json["pre_tokenizer"]["prepend_scheme"] = "always";
  EXPECT_THAT(Load(json).Encode("a a<s>a"), ElementsAre(3, 3, 5, 3));
  json["pre_tokenizer"]["prepend_scheme"] = "never";
  EXPECT_THAT(Load(json).Encode("a a"), ElementsAre(2, 3));
  json["pre_tokenizer"]["prepend_scheme"] = "sometimes";
  EXPECT_THAT(MessageOf([&] { Load(json); }), HasSubstr("sometimes"));
}

TEST(TokenizerLoader, SplitsByStringToo) {
  Json json = Small();
  json["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"String": "b."}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  EXPECT_THAT(Load(json).Encode("ab.abc"), ElementsAre('a', 'b', '.', 257));
}

TEST(TokenizerLoader, WhatIsNotSupportedIsNamed) {
  const auto model = [](const char* key, const Json& value) {
    return MessageAfter([&](Json& json) { json["model"][key] = value; });
  };
  const auto part = [](const char* key, const Json& value) {
    return MessageAfter([&](Json& json) { json[key] = value; });
  };
  EXPECT_THAT(model("type", "Unigram"), HasSubstr("model 'Unigram' is not supported"));
  EXPECT_THAT(model("end_of_word_suffix", "</w>"), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(model("dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(part("normalizer", {{"type", "NFKC"}}), HasSubstr("normalizer 'NFKC'"));
  EXPECT_THAT(part("pre_tokenizer", {{"type", "Whitespace"}}), HasSubstr("'Whitespace'"));
  EXPECT_THAT(part("pre_tokenizer", nullptr), HasSubstr("decoder is byte-level and the pre-t"));
  EXPECT_THAT(part("post_processor", {{"type", "Roberta"}}), HasSubstr("post-processor 'Roberta'"));
  EXPECT_THAT(part("decoder", {{"type", "WordPiece"}}), HasSubstr("decoder 'WordPiece'"));
  EXPECT_THAT(part("decoder", {{"type", "Fuse"}}), HasSubstr("pre-tokenizer is byte-level and"));
  EXPECT_THAT(part("decoder", nullptr), HasSubstr("no decoder"));
}

TEST(TokenizerLoader, UnigramVocabulariesAreNamedNotMisread) {
  EXPECT_THAT(MessageAfter([](Json& json) {
                json["model"] =
                    Json::parse(R"({"type": "Unigram", "vocab": [["<unk>", 0], ["a", -1.5]]})");
              }),
              HasSubstr("model 'Unigram'"));
}

TEST(TokenizerLoader, HostileEntriesAreErrors) {
  const auto vocab = [](const char* token, const Json& id) {
    return MessageAfter([&](Json& json) { json["model"]["vocab"][token] = id; });
  };
  EXPECT_THAT(vocab("x", 7), HasSubstr("both have id 7"));
  EXPECT_THAT(vocab("zz", -1), HasSubstr("has id -1"));
  EXPECT_THAT(vocab("zz", 4'000'000'000u), HasSubstr("has id 4000000000"));
  EXPECT_THAT(vocab("zz", UINT64_MAX), HasSubstr("has id -1"));
  EXPECT_THAT(vocab("zz", "5"), HasSubstr("'zz' has no id"));
  EXPECT_THAT(vocab("zz", Json::array({1})), HasSubstr("'zz' has no id"));
  const auto merges = [](const Json& value) {
    return MessageAfter([&](Json& json) { json["model"]["merges"] = value; });
  };
  EXPECT_THAT(merges({"a q q"}), HasSubstr("two tokens with a space"));
  EXPECT_THAT(merges({"a c"}), HasSubstr("'ac', which is not in the vocabulary"));
  EXPECT_THAT(merges({"abab c"}), HasSubstr("names 'abab'"));
  EXPECT_THAT(merges(Json::parse(R"([["a"]])")), HasSubstr("not a pair"));
  EXPECT_THAT(merges(Json::parse(R"([["a", "b", "c"]])")), HasSubstr("not a pair"));
  EXPECT_THAT(merges({7}), HasSubstr("not a pair"));
  EXPECT_THAT(merges("a b"), HasSubstr("model.merges: this must be a list"));
}

TEST(TokenizerLoader, HostileTextIsAnError) {
  const auto message = [](const std::string& text) {
    return MessageOf([&] { Tokenizer::FromJson(text, "", "here"); });
  };
  EXPECT_THAT(message(""), HasSubstr("here: tokenizer.json: it is not JSON"));
  EXPECT_THAT(message("[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(message("{}"), HasSubstr("the key 'model' is missing"));
  EXPECT_THAT(message("{\"a\": \"\xFF\"}"), HasSubstr("not JSON"));
  EXPECT_THAT(message(std::string(1'000'000, '[')), HasSubstr("nests deeper"));
  EXPECT_THAT(message(R"({"model": {}, "model": {}})"), HasSubstr("given twice"));
  EXPECT_THAT(message(R"({"model": {"vocab": {}, "vocab": {}}})"), HasSubstr("given twice"));
  std::string many = "[0";
  for (int i = 0; i < 600'000; ++i) many += ",0";
  EXPECT_THAT(message(many + "]"), HasSubstr("more than 500000 values"));
  const std::string whole = Small().dump();
  for (std::size_t size = 0; size < whole.size(); size += 37) {
    EXPECT_THAT(message(whole.substr(0, size)), HasSubstr("here: tokenizer.json: ")) << size;
  }
}

TEST(TokenizerLoader, CatastrophicPatternsFailWhenUsed) {
  Json json = Small();
  json["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"},
      {"type": "ByteLevel"}]})");
  const Tokenizer tokenizer = Load(json);
  EXPECT_THAT(MessageOf([&] { tokenizer.Encode(std::string(60, 'a') + "b"); }),
              HasSubstr("(a+)+$"));
}

}  // namespace
}  // namespace doppler
