#include "text/tokenizer_json.h"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDepth = 64;
// Values outside of vocabulary and merges. A few thousand added tokens make some 50,000.
constexpr std::size_t kMaxRestValues = 500'000;

// Builds a JSON document from events, within bounds.
class DocumentBuilder {
 public:
  explicit DocumentBuilder(Json* root) : root_(root) {}

  void Key(std::string key) { key_ = std::move(key); }
  void Value(Json value) { Put(std::move(value)); }
  void Start(Json empty) { open_.push_back(Put(std::move(empty))); }
  void End() { open_.pop_back(); }

 private:
  Json* Put(Json value) {
    if (++values_ > kMaxRestValues) {
      Throw("it holds more than {} values besides vocabulary and merges", kMaxRestValues);
    }
    if (open_.empty()) {
      *root_ = std::move(value);
      return root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    const auto [at, inserted] = parent.emplace(key_, std::move(value));
    if (!inserted) Throw("the key '{}' is given twice", key_);
    return &*at;
  }

  Json* root_;
  std::vector<Json*> open_;  // array elements move when a sibling is added, but only once closed
  std::string key_;
  std::size_t values_ = 0;
};

// The events of nlohmann's SAX interface, sent to where they belong.
class Reader : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(ParsedTokenizerJson* out) : out_(out), document_(&out->rest) {}

  bool null() override { return Scalar(Json()); }
  bool boolean(bool value) override { return Scalar(value); }
  bool number_float(double value, const std::string& /*text*/) override { return Scalar(value); }
  bool binary(binary_t& /*value*/) override { return false; }  // JSON text has none

  bool number_integer(std::int64_t value) override {
    if (section_ != Section::kVocabulary) return Scalar(value);
    out_->vocabulary.Add(key_, value);
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    // Ids beyond int64 become -1, which is out of range as well.
    if (section_ != Section::kVocabulary) return Scalar(value);
    out_->vocabulary.Add(key_, value > INT64_MAX ? -1 : static_cast<std::int64_t>(value));
    return true;
  }

  bool string(std::string& value) override {
    if (section_ == Section::kMerges) {
      out_->merges.AddJoined(value);
      return true;
    }
    if (section_ != Section::kMergePair) return Scalar(value);
    pair_.push_back(value);
    if (pair_.size() > 2) FailMerge();
    return true;
  }

  bool key(std::string& key) override {
    if (section_ == Section::kVocabulary) {
      key_ = key;
      return true;
    }
    if (section_ != Section::kRest) return true;
    if (depth_ == 1) in_model_ = key == "model";
    next_ = Section::kRest;
    if (depth_ == 2 && in_model_ && key == "vocab") next_ = Section::kVocabulary;
    if (depth_ == 2 && in_model_ && key == "merges") next_ = Section::kMerges;
    document_.Key(key);
    return true;
  }

  bool start_object(std::size_t /*size*/) override {
    Deeper();
    if (section_ == Section::kSkipped) return true;
    if (section_ != Section::kRest) FailValue();
    if (next_ == Section::kVocabulary) {
      document_.Value(Json::object());
      return Enter(Section::kVocabulary);
    }
    document_.Start(Json::object());
    next_ = Section::kRest;
    return true;
  }

  bool start_array(std::size_t /*size*/) override {
    Deeper();
    if (section_ == Section::kSkipped) return true;
    if (section_ == Section::kMerges) {
      pair_.clear();
      section_ = Section::kMergePair;
      return true;
    }
    if (section_ != Section::kRest) FailValue();
    if (next_ != Section::kRest) {
      document_.Value(Json::array());
      return Enter(next_ == Section::kMerges ? Section::kMerges : Section::kSkipped);
    }
    document_.Start(Json::array());
    return true;
  }

  bool end_object() override { return End(); }

  bool end_array() override {
    if (section_ != Section::kMergePair) return End();
    if (pair_.size() != 2) FailMerge();
    out_->merges.Add(pair_[0], pair_[1]);
    section_ = Section::kMerges;
    --depth_;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& /*problem*/) override {
    Throw("it is not JSON from byte {} on; it is damaged, fetch it again", position);
  }

 private:
  enum class Section : std::uint8_t { kRest, kVocabulary, kMerges, kMergePair, kSkipped };

  [[noreturn]] void FailMerge() const {
    Throw("merge {} is not a pair of tokens", out_->merges.size());
  }

  [[noreturn]] void FailValue() const {
    if (section_ == Section::kVocabulary) Throw("token '{}' has no id", key_);
    FailMerge();
  }

  bool Scalar(Json value) {
    if (section_ == Section::kSkipped) return true;
    if (section_ != Section::kRest) FailValue();
    next_ = Section::kRest;
    document_.Value(std::move(value));
    return true;
  }

  void Deeper() {
    if (++depth_ > kMaxDepth) Throw("it nests deeper than {} levels", kMaxDepth);
  }

  bool Enter(Section section) {
    section_ = section;
    section_depth_ = depth_;
    next_ = Section::kRest;
    return true;
  }

  bool End() {
    if (section_ == Section::kRest) {
      document_.End();
    } else if (depth_ == section_depth_) {
      section_ = Section::kRest;
    }
    --depth_;
    return true;
  }

  ParsedTokenizerJson* out_;
  DocumentBuilder document_;
  Section section_ = Section::kRest;
  Section next_ = Section::kRest;  // what the value of the last key belongs to
  std::size_t depth_ = 0;
  std::size_t section_depth_ = 0;
  bool in_model_ = false;
  std::string key_;                // of the vocabulary
  std::vector<std::string> pair_;  // of a merge that is an array
};

}  // namespace

ParsedTokenizerJson ReadTokenizerJson(std::string_view text) {
  ParsedTokenizerJson out;
  Reader reader(&out);
  Json::sax_parse(text, &reader);
  if (!out.rest.is_object()) Throw("it is not a JSON object");
  return out;
}

}  // namespace doppler
