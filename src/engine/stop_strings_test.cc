#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// Feeds `text` in the pieces that the bits of `cuts` make.
Outcome InPieces(const std::vector<std::string>& stops, std::string_view text, unsigned cuts) {
  StopStrings finder(stops);
  Outcome out;
  std::string piece;
  for (std::size_t i = 0; i < text.size(); ++i) {
    piece += text[i];
    if ((cuts >> i & 1u) != 0) {
      out.text += finder.Push(piece);
      piece.clear();
    }
  }
  out.text += finder.Push(piece);
  out.text += finder.Flush();
  out.stopped = finder.stopped();
  return out;
}

// The definition: the least end, then the longest stop string that ends there.
Outcome Reference(const std::vector<std::string>& stops, std::string_view text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {std::string(text.substr(0, end - longest)), true};
  }
  return {std::string(text), false};
}

TEST(StopStrings, EverySplitGivesTheSame) {
  const std::vector<std::vector<std::string>> stop_lists = {
      {"ab"}, {"aab"}, {"aabaac", "b"}, {"abc", "bc", "c"}, {"abcd", "bx"}, {"aa"}, {}};
  for (const auto& stops : stop_lists) {
    for (const char* text : {"xaabaabaac", "aaaab", "abcabxabcd", "aabaabaaca", "", "a", "xyzab"}) {
      const Outcome expected = Reference(stops, text);
      const unsigned all = 1u << std::string_view(text).size();
      for (unsigned cuts = 0; cuts < all; ++cuts) {
        ASSERT_EQ(InPieces(stops, text, cuts), expected) << text << " cut " << cuts;
      }
    }
  }
}

TEST(StopStrings, HoldsBackOnlyWhatCouldStop) {
  StopStrings finder({"</s>", "\n\nUser:"});
  EXPECT_EQ(finder.Push("Hello <"), "Hello ");
  EXPECT_EQ(finder.Push("/"), "");
  EXPECT_EQ(finder.Push("p> x\n"), "</p> x");
  EXPECT_EQ(finder.Push("\n"), "");
  EXPECT_EQ(finder.Push("\n"), "\n");
  EXPECT_EQ(finder.Push("User"), "");
  EXPECT_FALSE(finder.stopped());
  EXPECT_EQ(finder.Push(": hi"), "");
  EXPECT_TRUE(finder.stopped());
  EXPECT_EQ(finder.Push("more"), "");
  EXPECT_EQ(finder.Flush(), "");
}

TEST(StopStrings, FlushGivesTheRest) {
  StopStrings finder({"stop"});
  EXPECT_EQ(finder.Push("a sto"), "a ");
  EXPECT_EQ(finder.Flush(), "sto");
  EXPECT_FALSE(finder.stopped());
}

TEST(StopStrings, WholeCharactersComeOut) {
  StopStrings finder({"é!"});
  EXPECT_EQ(finder.Push("aè"), "aè");
  EXPECT_EQ(finder.Push("é"), "");
  EXPECT_EQ(finder.Push("?"), "é?");
}

TEST(StopStrings, EmptyOnesAreUsageErrors) { EXPECT_THROW(StopStrings({"a", ""}), UsageError); }

}  // namespace
}  // namespace doppler
